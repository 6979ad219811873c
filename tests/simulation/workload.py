"""People: who push, approve, reject, roll back, deprecate and redrive; through the real front door."""

from __future__ import annotations

import hashlib
import hmac
from random import Random
from typing import Any

import msgspec
from simulation.host import Crash
from simulation.plans import judged
from simulation.repository import BRANCH, NAME, Content
from simulation.seams import SECRET
from simulation.traffic import Traffic, plans

from events.catalog import encode, name_of
from events.envelope import Event
from events.model_approved import ModelApproved
from events.model_deprecated import ModelDeprecated
from events.model_rejected import ModelRejected
from events.quota_set import QuotaSet
from events.retry_requested import RetryRequested
from events.rollback_requested import RollbackRequested
from services.deployment.versions import gates_open
from services.webhook.missed import look
from services.webhook.receive import Receiver
from shared.errors import KuzniaError
from shared.identity import event_id, run_id
from shared.record import Record

PUSHING_SECONDS = 150.0
LOOK_SECONDS = 60.0
VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
KINDS = ("auto", "auto", "auto", "high", "required", "faulty", "thrifty")
NO_COMMIT = "0" * 40


class People:
    """Draws what people do from its own numbers, so that taking away faults changes nothing of it."""

    def __init__(self, world: Any, rand: Random) -> None:
        self._world = world
        self._rand = rand
        self._words = 0
        self._sent: list[tuple[dict[str, str], bytes]] = []
        self._accepted: set[str] = set()
        self.contents: set[Content] = set()
        self._names = [f"llm-{letter}" for letter in "abc"[: 1 + int(world.options.models * rand.random())]]
        self._plans = judged(world.seed, plans(world.seed, self._names))
        self.traffic = Traffic(world, self._plans)
        self._kinds = {name: KINDS[int(len(KINDS) * rand.random())] for name in self._names}
        share = Random(f"{world.seed}/engines")  # of its own, so that all else is drawn as without it
        vllm = 0.6 * (share.random() < 0.5)
        self._engines = {name: "vllm" if share.random() < vllm else "llamafactory" for name in self._names}
        self._impatient = rand.random() < 0.3  # approves nothing in the end
        self._thrift = Random(f"{world.seed}/quotas")
        self.most_runs: int | None = None  # that may train at once; people only ever raise it
        door = _Door(world)
        self._receiver = Receiver(world.store, door, world.clock, world.settings)  # type: ignore[arg-type]
        self._door = door

    def begin(self) -> None:
        """Connect the repository, and set down what will be done when."""
        data = {"url": "https://git.example/models.git", "branches": [BRANCH], "folders": []}
        self._world.store.commit(Record(key=f"repositories/{NAME}", status="CONNECTED", data=data))
        told = {"url": "https://other.example/hook", "events": ["*"], "tenants": ["*"]}
        self._world.store.commit(Record(key="subscribers/other", status="ACTIVE", data=told))
        pushes = 1 + int(3.5 * self._rand.random() ** 2)
        if self._world.options.pushes >= 0:
            pushes = min(pushes, self._world.options.pushes)
        for number in range(pushes):
            self._world.at(PUSHING_SECONDS * self._rand.random() * (number > 0), self._push)
        for act in (self._approve, self._operate, self.redrive, self._retry):
            for _ in range(int(5 * self._rand.random())):
                self._world.at(400 * self._rand.random(), act)
        self._world.at(LOOK_SECONDS, self._look)
        self.traffic.begin()
        if self._thrift.random() < 0.5:
            self._ration()

    def _ration(self) -> None:
        """Few trainings at once, of the tenant or of all; later perhaps some more."""
        draw = self._thrift.random
        tenant = "team-x" if draw() < 0.5 else ""
        runs = int(2.3 * draw())  # none at all, in some worlds
        self.most_runs = runs
        key = f"quotas/{tenant or '_all'}"
        self._world.store.commit(Record(key=key, status="SET", data={"tenant": tenant, "runs": runs}))
        self._world.at(400 * draw(), lambda: self._set_quota(tenant, runs + 1))

    def _set_quota(self, tenant: str, runs: int) -> None:
        self.most_runs = runs
        self.say(QuotaSet(tenant=tenant, by="Ann", runs=runs), f"quotas/{tenant or '_all'}")

    def heads(self) -> dict[str, str]:
        """What `git ls-remote` would say."""
        return {BRANCH: self._world.forge.head} if self._world.forge.head else {}

    # --- pushes

    def _push(self) -> None:
        draw = self._rand.random
        name = self._names[int(len(self._names) * draw())]
        version = VERSIONS[int(len(VERSIONS) * draw() ** 1.5)]
        kind = self._kinds[name] if draw() < 0.9 else "faulty"
        engine = self._engines[name]
        content = Content(name, version, kind, nonce=int(2.2 * draw()), engine=engine, plan=self._plans[name])
        if self.push(content, forced=draw() < 0.15) and draw() < 0.2:
            self._world.at(100 * draw(), self._resend)

    def planned(self, name: str, version: str) -> Content:
        """A version of a model that is no mistake."""
        kind = self._kinds[name].replace("faulty", "auto")
        return Content(name, version, kind, engine=self._engines[name], plan=self._plans[name])

    def push(self, content: Content, *, forced: bool = False) -> bool:
        """Whether its webhook was sent."""
        self.contents.add(content)
        before, after = self._world.forge.push({f"experiments/{content.name}": content}, forced=forced)
        self._world.tell(
            f"push {after[:6]} {content.name} {content.version} {content.kind} nonce {content.nonce}"
        )
        if self._world.faults.hit("world") == "lost-webhook":
            return False
        self._send(before, after)
        return True

    def _send(self, before: str, after: str) -> None:
        payload = {
            "ref": f"refs/heads/{BRANCH}",
            "before": before or NO_COMMIT,
            "after": after,
            "repository": {"full_name": NAME},
            "pusher": {"name": "ann"},
        }
        body = msgspec.json.encode(payload)
        headers = {
            "x-github-event": "push",
            "x-github-delivery": f"delivery-{len(self._sent)}",
            "x-hub-signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest(),
        }
        self._sent.append((headers, body))
        self._receive(headers, body, 0)

    def _resend(self) -> None:
        """A person presses Redeliver."""
        headers, body = self._sent[int(len(self._sent) * self._rand.random())]
        self._receive(headers, body, 3)

    def _receive(self, headers: dict[str, str], body: bytes, tries: int) -> None:
        if not self._world.up:
            return  # nobody answers; GitHub does not try again by itself
        try:
            answer = self._receiver.receive(headers, body)
        except Crash:
            if self._world.embedded:
                self._world.crash()
            return
        except KuzniaError:
            return  # a 500; it may have been kept
        self._world.tell(f"the door answers {answer.status}")
        if answer.status == 202:
            self._accepted.add(msgspec.json.decode(body)["after"])
        if answer.status not in (202, 503):
            self._world.fail(f"the front door answered {answer.status} {answer.body}")

    def _look(self) -> None:
        """The reconciler of missed deliveries, as the platform runs it every minute."""
        if self._world.up:
            try:
                look(self._world.store, self._door, self._world.clock)  # type: ignore[arg-type]
            except Crash:
                if self._world.embedded:
                    self._world.crash()
            except KuzniaError as error:
                self._world.tell(f"look: {error}")
        if self._world.faults.on:
            self._world.at(LOOK_SECONDS, self._look)

    def expected_runs(self) -> dict[str, Content]:
        """Runs that must exist: of what the branch holds in the end, and of every accepted push that it can still see."""
        found = {}
        for commit in self._world.forge.history():
            parent = self._world.forge.commits[commit.parent].folders if commit.parent else {}
            if commit.id not in self._accepted and commit.id != self._world.forge.head:
                continue
            if commit.id == self._world.forge.head:
                parent = {}
            for path, content in commit.folders.items():
                if parent.get(path) != content:
                    found[run_id(NAME, path, content.tree)] = content
        return found

    # --- words of people

    def say(self, payload: Any, subject: str) -> str:
        """As console and command line do; at once, for a person sees whether it worked and tries again."""
        self._words += 1
        event = Event(
            id=event_id(f"people-{self._words}", name_of(payload)),
            name=name_of(payload),
            source="/kuznia/people",
            subject=subject,
            time=self._world.moment(),
            data=encode(payload),
        )
        self._world.tell(f"people say {event.name} {subject}")
        if event.name == "model-approved":
            word = (payload.model_id, payload.version, payload.manifest_digest, payload.card_digest)
            self._world.checks.approvals.add(word)
        self._world.bus.publish([event])
        return event.id

    def _waiting(self) -> list[Record]:
        return [
            record
            for record in self._world.store.list("models")
            if record.data["approval_needed"]
            and record.data.get("card_digest")
            and record.status == "VALIDATED"
            and not record.data["approvals"]
            and "rejection" not in record.data
        ]

    def _approve(self) -> None:
        for record in self._waiting():
            chance = self._rand.random()
            if chance < 0.15:
                self._judge(record, ModelRejected)
            elif chance < 0.3:  # of an older card: it must not count
                wrong = self._judge(record, ModelApproved, card="sha256:" + "0" * 64)
                self._world.checks.refusable.add(wrong)
            elif chance < 0.7:
                self._judge(record, ModelApproved)
                if chance < 0.5:  # a second pair of eyes
                    self._judge(record, ModelApproved, who="Piotr")

    def _judge(self, record: Record, word: Any, card: str = "", who: str = "Zofia") -> str:
        data = record.data
        payload = word(
            model_id=data["model_id"],
            version=data["version"],
            who=who,
            role="compliance",
            manifest_digest=data["manifest_digest"],
            card_digest=card or data["card_digest"],
        )
        return self.say(payload, record.key)

    def _operate(self) -> None:
        """A rollback or a deprecation of something that was there when the person looked."""
        releases = self._world.store.list("releases")
        if not releases:
            return
        release = releases[int(len(releases) * self._rand.random())]
        versions = sorted(release.data["versions"])
        version = versions[int(len(versions) * self._rand.random())]
        if self._rand.random() < 0.6:
            if version == release.data["live"] or not gates_open(release.data["versions"][version]):
                return  # the command line refuses it
            request = RollbackRequested(model_id=release.name, version=version, by="Zofia", reason="errors")
            self._world.checks.refusable.add(self.say(request, release.key))
            return
        key = f"{release.name}@{version}"
        if self._world.store.load(f"models/{key}").revision:
            gone = ModelDeprecated(model_id=release.name, version=version, by="Zofia", reason="old")
            self.say(gone, f"models/{key}")

    def redrive(self) -> None:
        """Whatever died, once more."""
        for letter in self._world.bus.dead_letters():
            self._world.tell(f"redrive of {letter.event.name} for {letter.service}")
            self._world.bus.redrive(letter.event.id, letter.service)

    def _retry(self) -> None:
        """Somebody asks for a failed run again."""
        for run in self._world.store.list("runs", status="FAILED"):
            if self._rand.random() < 0.8:
                raised = 5.0 if run.data.get("budget_hours") and self._thrift.random() < 0.7 else None
                again = RetryRequested(run_id=run.name, by="Ann", reason="again", budget_hours=raised)
                self.say(again, run.key)

    def settle(self) -> bool:
        """After all is healed: look for missed pushes, redrive what died, approve; True where it did something."""
        before = len(self._world.bus.events)
        self._look()
        acted = len(self._world.bus.events) > before
        for letter in self._world.bus.dead_letters():
            if not self._world.checks.refused(letter):
                self._world.tell(f"redrive of {letter.event.name} for {letter.service}: {letter.cause}")
                acted |= self._world.bus.redrive(letter.event.id, letter.service)
        for record in [] if self._impatient else self._waiting():
            self._judge(record, ModelApproved)
            acted = True
        return self.traffic.settle() or acted


class _Door:
    """The bus as the front door sees it."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def publish(self, events: Any) -> None:
        self._world.publish("door.publish", events)

    def event(self, event_id: str) -> Event | None:
        found: Event | None = self._world.bus.event(event_id)
        return found
