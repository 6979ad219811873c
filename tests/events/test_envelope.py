"""The envelope: what goes in comes out, and what is no CloudEvent of ours is refused by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.envelope import EnvelopeError, Event, from_structured_json, name_of_type, to_structured_json
from tests.memory import START

# CloudEvents 1.0.2, 3.2: strings hold no control characters, surrogates or non-characters.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=40
).filter(str.strip)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.builds(
    Event,
    id=TEXT,
    name=st.from_regex(r"[a-z]{1,12}(-[a-z]{1,12})?", fullmatch=True),
    source=TEXT,
    subject=TEXT,
    time=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
    data=st.dictionaries(st.text(max_size=8), JSON, max_size=5),
    traceparent=st.just("") | TEXT,
    cause=st.just("") | TEXT,
)


def event(**changes: object) -> Event:
    facts: dict[str, object] = {
        "id": "e-1", "name": "model-deployed", "source": "/kuznia/deployment", "subject": "models/a.b.v1@1.0.0",
        "time": START, "data": {"version": "1.0.0"},
    }  # fmt: skip
    return Event(**{**facts, **changes})  # type: ignore[arg-type]


def body(**changes: object) -> bytes:
    """The structured form of an event, with attributes changed; None takes one away."""
    attributes = {**json.loads(to_structured_json(event())), **changes}
    return json.dumps({name: value for name, value in attributes.items() if value is not None}).encode()


@given(EVENTS)
def test_an_event_comes_back_as_it_went_in(event: Event):
    assert from_structured_json(to_structured_json(event)) == event


@given(EVENTS)
def test_the_same_event_gives_the_same_bytes(event: Event):
    again = from_structured_json(to_structured_json(event))
    assert to_structured_json(again) == to_structured_json(event)


def test_the_form_is_that_of_the_specification():
    sent = event(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01", cause="e-0")
    assert json.loads(to_structured_json(sent)) == {
        "specversion": "1.0",
        "id": "e-1",
        "type": "dev.kuznia.model-deployed.v1",
        "source": "/kuznia/deployment",
        "subject": "models/a.b.v1@1.0.0",
        "time": "2026-11-23T10:00:00+00:00",
        "datacontenttype": "application/json",
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "cause": "e-0",
        "data": {"version": "1.0.0"},
    }


def test_what_is_empty_is_not_sent():
    assert not {"cause", "traceparent"} & set(json.loads(to_structured_json(event())))


def test_times_of_other_zones_become_utc():
    read = from_structured_json(body(time="2026-11-23T12:00:00+02:00"))
    assert read.time == START
    assert read.time.tzinfo is UTC
    assert from_structured_json(body(time="2026-11-23T10:00:00Z")).time == START
    assert from_structured_json(body(time="2026-11-23T10:00:00")).time == START


def test_a_time_of_another_zone_is_written_as_the_same_moment():
    sent = event(time=START.astimezone(timezone(timedelta(hours=-7))))
    assert from_structured_json(to_structured_json(sent)).time == START


def test_what_other_systems_may_leave_out_is_empty():
    read = from_structured_json(body(subject=None, data=None))
    assert (read.subject, read.data, read.traceparent, read.cause) == ("", {}, "", "")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "not a CloudEvent"),
        (b"{", "not a CloudEvent"),
        (b"[]", "not a CloudEvent"),
        (b"\xff\xfe", "not a CloudEvent"),
        (b'{"specversion": "1.0"}', "not a CloudEvent"),
        (body(specversion="9.9"), "not a CloudEvent"),
        (body(id=None), "id"),
        (body(source=None), "source"),
        (body(type=None), "type"),
        (body(time=None), "time is missing"),
        (body(time="yesterday"), "time"),
        (
            body(type="com.github.push.v1"),
            "type 'com.github.push.v1' is not of the form dev.kuznia.<name>.v1",
        ),
        (body(type="dev.kuznia.model-deployed.v2"), "is not of the form"),
        (body(data=[1, 2]), "data"),
        (body(data="text"), "data"),
        (body(data=7), "data"),
    ],
)
def test_what_is_no_event_of_ours_is_refused_saying_why(sent: bytes, told: str):
    with pytest.raises(EnvelopeError) as raised:
        from_structured_json(sent)
    assert told in str(raised.value)


def test_type_and_name_are_inverse():
    assert name_of_type(event().type) == "model-deployed"
    with pytest.raises(EnvelopeError):
        name_of_type("model-deployed")
