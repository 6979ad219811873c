"""Deliveries are written down once, whatever goes wrong on the way; and the documentation's receiver is right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.envelope import Event
from services.outbound.courier import message
from services.outbound.decide import Broadcast
from services.outbound.effects import effects
from shared import standard_webhooks
from shared.errors import Conflict, KuzniaError, Retry, Unknown
from shared.record import Do, Record
from shared.service import Ports
from shared.settings import Settings
from tests.memory import START, ManualClock, MemoryStore

DOCS = Path(__file__).resolve().parents[3] / "docs" / "events-from-others.md"
NAMES = ("s-1", "s-2", "s-3")


class Faulty:
    """A store whose n-th call goes wrong, before or after it took effect."""

    def __init__(self, at: int, error: KuzniaError, *, late: bool) -> None:
        self.store, self._left, self._error, self._late = MemoryStore(), at, error, late

    def load(self, key: str) -> Record:
        return self._struck(lambda: self.store.load(key))

    def commit(self, record: Record) -> Record:
        return self._struck(lambda: self.store.commit(record))

    def list(self, kind: str, **chosen: Any) -> Any:
        return self._struck(lambda: self.store.list(kind, **chosen))

    def _struck(self, act: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._late:
            raise self._error
        answer = act()
        if self._left == 0:
            raise self._error
        return answer


@pytest.mark.parametrize(
    "error", [Retry("no"), Unknown("lost"), Conflict("other")], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("at", range(1, 10))
def test_one_delivery_each_wherever_it_is_cut_off(tmp_path: Path, at: int, late: bool, error: KuzniaError):
    faulty = Faulty(at, error, late=late)
    for name in NAMES:
        data = {"url": "https://hooks.example/", "events": ["*"], "tenants": ["team-x"]}
        faulty.store.commit(Record(key=f"subscribers/{name}", status="ACTIVE", data=data))
    faulty.store.commit(Record(key="runs/r-1", status="TRAINING", data={"model": {"tenant": "team-x"}}))
    settings = Settings(home=tmp_path, cache=tmp_path)
    ports = Ports(store=faulty, artifacts=None, cluster=None, clock=ManualClock(), settings=settings)  # type: ignore[arg-type]
    broadcast = Broadcast(event="e-1", name="training-finished", subject="runs/r-1", time=START, run="r-1")
    do = Do(id="d", effect="tell", arguments=msgspec.to_builtins(broadcast), cause="e-1")
    tell = effects(ports)["tell"]
    tries = 0
    while True:
        tries += 1
        try:
            assert tell(do, Record(key="broadcasts/e-1")) == []
            break
        except KuzniaError:
            assert tries < 3
    found = faulty.store.list("deliveries")
    assert [record.name for record in found] == [f"{name}/e-1" for name in NAMES]
    assert {(record.revision, record.status) for record in found} == {(1, "PENDING")}


def test_the_receiver_of_the_documentation_verifies_what_we_send():
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(code.partition("def ")[2].strip().splitlines()) <= 10
    known: dict[str, Any] = {}
    exec(code, known)
    old, new = standard_webhooks.new_secret(), standard_webhooks.new_secret()
    event = Event(
        id="e-1", name="model-deployed", source="/s", subject="models/żółw", time=START, data={"a": "ż"}
    )
    sent = message("https://hooks.example/", event, (new.encode(), old.encode()), datetime.now(UTC))
    headers = dict(sent.headers)
    assert json.loads(sent.body)["id"] == headers["webhook-id"] == "e-1"
    assert known["verify"](old, headers, sent.body)
    assert known["verify"](new, headers, sent.body)
    assert not known["verify"](standard_webhooks.new_secret(), headers, sent.body)
    assert not known["verify"](new, headers, sent.body + b" ")
    assert not known["verify"](new, headers | {"webhook-timestamp": "1"}, sent.body)


def test_the_documentation_names_every_pause_and_forge():
    text = DOCS.read_text()
    assert "5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h" in text
    for way in ("github", "gitlab", "gitea", "forgejo", "bitbucket"):
        assert f"/webhooks/{way}" in text


def test_a_known_answer_of_standard_webhooks():
    """The vector of the specification's own libraries."""
    secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    stamp = standard_webhooks.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [secret]
    )
    assert stamp.signatures == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
