"""Events as messages: binary mode, there and back."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from events.envelope import EnvelopeError
from shared.errors import Reject
from shared.google import message
from tests.contracts.adapters import event
from tests.memory import START


@pytest.mark.parametrize(
    "sent",
    [
        event(1, traceparent="00-aa-bb-01", cause="e-0", data={"text": "żółw", "n": [1, 2.5, None]}),
        event(2, subject="", time=START.astimezone(timezone(timedelta(hours=9)))),
        event(3, data={}),
        event(4, subject='branches/org/repo/żółw 100% "x"'),
    ],
)
def test_there_and_back(sent):
    assert message.read(message.attributes(sent), message.body(sent)) == sent


def test_the_attributes_are_those_of_the_specification():
    said = message.attributes(event(1))
    assert said["ce-type"] == "dev.kuznia.training-progressed.v1"
    assert (said["ce-specversion"], said["content-type"]) == ("1.0", "application/json")
    assert "ce-cause" not in said


@pytest.mark.parametrize(
    ("change", "body", "told"),
    [
        ({"ce-id": "", "ce-time": ""}, b"{}", "id, time missing"),
        ({"ce-type": "com.example.x"}, b"{}", "type 'com.example.x' is not of the form"),
        ({"ce-time": "yesterday"}, b"{}", "'yesterday' is not of RFC 3339"),
        ({"ce-time": "0001-01-01T00:00:00+14:00"}, b"{}", "is not of RFC 3339"),
        ({}, b"[" * 100_000, "the body is no JSON"),
        ({}, b"[1]", "no JSON object but a list"),
        ({}, b"{", "the body is no JSON"),
    ],
)
def test_what_is_no_event_of_ours_is_told(change, body, told):
    with pytest.raises(EnvelopeError, match=told):
        message.read(message.attributes(event(1)) | change, body)


def test_a_time_without_a_zone_is_utc():
    said = message.attributes(event(1)) | {"ce-time": "2026-11-23T10:00:00"}
    assert message.read(said, b"{}").time == START


def test_a_push_may_make_headers_of_them():
    """Pub/Sub copies attributes into headers as they are, so they are encoded as the HTTP binding says."""
    said = message.attributes(event(1, subject='branches/org/repo/żółw 100% "x"'))
    assert said["ce-subject"] == "branches/org/repo/%C5%BC%C3%B3%C5%82w%20100%25%20%22x%22"
    assert all(value.isascii() and value.isprintable() for value in said.values())


@pytest.mark.parametrize("field", ["subject", "source", "traceparent", "cause"])
def test_what_pubsub_would_refuse_with_all_its_batch_is_refused_before(field: str):
    message.require_carriable(event(1, **{field: "x" * 1024}))
    with pytest.raises(Reject, match=rf"{field} has 1025 bytes as an attribute, and 1024 are the most"):
        message.require_carriable(event(1, **{field: "x" * 1025}))
    with pytest.raises(Reject, match=f"{field} has"):
        message.require_carriable(event(1, **{field: "ż" * 600}))
