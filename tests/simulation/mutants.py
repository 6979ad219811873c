"""Planted bugs: each a small patch of the real code, or of the ports in memory; the simulator must find them all."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import FunctionType

import msgspec


class Patch(msgspec.Struct, frozen=True):
    """In the function `where` (module:function, or module:Class.method), the text `old` becomes `new`."""

    where: str
    old: str
    new: str


class Mutant(msgspec.Struct, frozen=True):
    """name: short. what: the bug, for a reader."""

    name: str
    what: str
    patches: tuple[Patch, ...]


def mutant(name: str, what: str, *patches: tuple[str, str, str]) -> Mutant:
    return Mutant(name, what, tuple(Patch(*patch) for patch in patches))


@contextmanager
def planted(planting: Mutant) -> Iterator[None]:
    """With the bug in the code. Raises ValueError where the code no longer reads as the patch expects."""
    with ExitStack() as stack:
        for where in dict.fromkeys(patch.where for patch in planting.patches):
            patches = [patch for patch in planting.patches if patch.where == where]
            stack.enter_context(_patched(where, patches))
        yield


@contextmanager
def _patched(where: str, patches: list[Patch]) -> Iterator[None]:
    """Changes the function's code in place, so that whoever holds the function has the bug."""
    found = function(where)
    source = textwrap.dedent(inspect.getsource(found))
    for patch in patches:
        if source.count(patch.old) != 1:
            raise ValueError(f"{where} has {source.count(patch.old)} times {patch.old!r}; mend the mutant")
        source = source.replace(patch.old, patch.new)
    before, found.__code__ = found.__code__, _compiled(found, source)
    try:
        yield
    finally:
        found.__code__ = before


def function(where: str) -> FunctionType:
    """What `module:function` or `module:Class.method` names."""
    module, _, path = where.partition(":")
    found: object = import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    assert isinstance(found, FunctionType)
    return found


def _compiled(function: FunctionType, source: str) -> object:
    names: dict[str, object] = {}
    code = compile(
        "from __future__ import annotations\n" + source, f"<mutant of {function.__name__}>", "exec"
    )
    exec(code, dict(function.__globals__), names)
    made = names[function.__name__]
    assert isinstance(made, FunctionType)
    return made.__code__


REACTION, DELIVERY, MEMORY = "shared.reaction", "shared.delivery", "simulation.memory"
TRAINING, VALIDATION = "services.training.decide", "services.validation.decide"
ENGINES = "services.engines.decide"
RELEASE, VERSIONS, DEPLOYMENT, REGISTRY = (
    "services.deployment.release",
    "services.deployment.versions",
    "services.deployment.decide",
    "services.registration.decide",
)
NO_GUARD = (f"{MEMORY}:MemoryStore.commit", "guard(stored, record)", "pass")
_COMMIT = "written: Record = yield Commit(_applied(service, record, event, decision, now))"
_SAY = "yield Publish(tuple(speak(service, s, event, now) for s in decision.says))"

MUTANTS: tuple[Mutant, ...] = (
    # --- the reaction
    mutant("inbox not written", "what was heard is not remembered", (
        f"{REACTION}:_applied", "inbox=(*record.inbox, event.id)", "inbox=record.inbox")),
    mutant("inbox not asked", "a redelivery is decided again", (
        f"{REACTION}:_decide_once", "if event.id in record.inbox:", "if False:")),
    mutant("ignored not remembered", "an event that nothing followed from is decided again", (
        f"{REACTION}:_decide_once", "if record.revision == 0:", "if True:")),
    mutant("publish outside the commit", "events are said after the commit, and written down nowhere", (
        f"{REACTION}:_applied", "(*record.outbox, *says, *wishes)", "(*record.outbox, *wishes)"), (
        f"{REACTION}:_decide_once", _COMMIT, f"{_COMMIT}\n            {_SAY}")),
    mutant("publish before the commit", "events are said before it is sure that they were decided", (
        f"{REACTION}:_decide_once", _COMMIT, f"{_SAY}\n            {_COMMIT}")),
    mutant("ids by the clock", "an event said twice is two events", (
        f"{REACTION}:speak", "speech.subject),", "speech.subject + now.isoformat()),")),
    mutant("struck off before said", "the outbox forgets an event, then says it", (
        f"{REACTION}:_say",
        "yield Publish(tuple(say.event for say in says))\n        done.extend(say.id for say in says)",
        "done.extend(say.id for say in says)\n        yield Publish(tuple(say.event for say in says))")),
    mutant("struck off before done", "the outbox forgets an effect, then asks for it", (
        f"{REACTION}:_do", "    try:\n            speeches", "    done.append(intent.id)\n        try:\n            speeches")),
    mutant("struck off before its word", "an effect is struck off before what is to be said of it is said", (
        f"{REACTION}:_do", "if speeches:", "done.append(intent.id)\n        if speeches:")),
    mutant("effect's word not said", "what an effect answers is dropped", (
        f"{REACTION}:_do", "if speeches:", "if False:")),
    mutant("not_before ignored", "a delayed effect is done at once", (
        f"{REACTION}:_do", "not _is_due(intent, now)", "False")),
    mutant("outbox emptied", "settling forgets what was not done", (
        f"{REACTION}:_settle", "if intent.id not in done)", "if False)")),
    mutant("conflict is success", "somebody was faster, and the event is forgotten", (
        f"{REACTION}:_decide_once", "continue", "return record")),
    mutant("death forgotten", "any later event makes a dead record live", (
        f"{REACTION}:_applied", "record.still_dead(event.id)", "None")),
    mutant("death overwritten", "what is given up later hides what was given up before", (
        f"{REACTION}:_with", "*unheard, death", "death")),
    mutant("dead for ever", "a redrive that is done leaves the record dead", (
        f"{REACTION}:_settle", "None if lives and not record.unheard else record.dead", "record.dead")),
    mutant("death of the heard", "giving up does not look whether another attempt made it", (
        f"{REACTION}:give_up", " or _is_done(record, dead)", "")),
    # --- the delivery
    mutant("ack before work", "struck off, then handled", (
        f"{DELIVERY}:handle", "try:\n", "yield Ack(delivery)\n    try:\n")),
    mutant("swallow and continue", "any error counts as handled", (
        f"{DELIVERY}:handle", "yield from failed(service, delivery, max_attempts, error)", "yield Ack(delivery)")),
    mutant("retry counted as success", "put off, and never looked at again", (
        f"{DELIVERY}:failed", "yield Again(delivery, backoff(delivery.attempt, error), cause)", "yield Ack(delivery)")),
    mutant("gives up at once", "the first fault is the last", (
        f"{DELIVERY}:failed", "delivery.attempt < max_attempts", "False")),
    mutant("dead letter dropped", "after the last attempt it is struck off", (
        f"{DELIVERY}:failed", "yield Bury(delivery, cause)", "yield Ack(delivery)")),
    mutant("dead letter without a cause", "buried, and nobody knows why", (
        f"{DELIVERY}:failed", "yield Bury(delivery, cause)", 'yield Bury(delivery, "")')),
    mutant("no sweep", "what nobody redelivers stays undone", (
        f"{DELIVERY}:sweep", "for record in records:", "for record in ():")),
    # --- stores, bus, cluster
    mutant("blind write", "no compare-and-set", (
        f"{MEMORY}:MemoryStore.commit", "if stored.revision != record.revision:", "if False:")),
    mutant("lease without end", "what a dead worker held is never lent again", (
        f"{MEMORY}:MemoryBus.lend", "+ self.lease_seconds", '+ float("inf")')),
    mutant("order not kept", "a later event of a subject overtakes an earlier one", (
        f"{MEMORY}:MemoryBus.due",
        "entry for queue in self._queues.values() if (entry := queue[0]).due <= now",
        "entry for queue in self._queues.values() for entry in queue if entry.due <= now")),
    mutant("409 is an error", "a workload that is there already counts as refused", (
        "simulation.cluster:MemoryCluster.apply", "elif held.workload != workload:", "else:")),
    mutant("end overtakes the last word", "the cluster speaks of a job under another subject than its pod", (
        "shared.local.cluster.verdict:changed", "subject=workload.key,", 'subject=f"workloads/{workload.name}",')),
    # --- webhook, training
    mutant("the push's own before", "a push is compared with what it says came before", (
        "services.webhook.decide:decide", 'record.data.get("head", NO_COMMIT)', "push.before")),
    mutant("run begun again", "the same content is trained again", (
        f"{TRAINING}:_committed", "if record.revision:", "if False:")),
    mutant("claim not checked", "two runs make the same version", (
        "services.training.effects:effects", "if holder != started.run_id:", "if False:")),
    mutant("claim written over", "the last one to ask owns the version", (
        "services.training.effects:_claim", "if claim.revision == 0:", "if True:"), (
        "services.training.effects:_first", 'Record(key=key, status="CLAIMED",',
        'Record(key=key, revision=ports.store.load(key).revision, status="CLAIMED",')),
    mutant("measured before claimed", "training is said to have started before the version is ours", (
        f"{TRAINING}:_admitted", "wishes=(_launch(data),)",
        'says=(Speech(started, f"runs/{committed.run_id}"),), wishes=(_launch(data),)'), (
        "services.training.effects:effects", "return [Speech(started, record.key), *check(", "return [*check(")),
    mutant("silent job waited for", "a training job that ended without a word is waited for, for ever", (
        f"{TRAINING}:_workload", "if record.status", "if True or record.status")),
    # --- slots
    mutant("slot not given back", "a run that has ended keeps its slot", (
        f"{TRAINING}:_ended", "wishes=(back,)", "wishes=()")),
    mutant("slot given back without a word", "a free slot is offered to nobody", (
        "services.training.effects:effects", 'return _offers(ready, f"{record.name} has ended")', "return []")),
    mutant("slot not asked for", "a run is started whoever else trains", (
        "services.training.queue:_full", "taken >= limits.runs", "False")),
    mutant("slot taken unseen", "somebody was faster, and it is taken all the same", (
        "services.training.slots:Slots._commit", "return False", "return True")),
    mutant("slot for the late", "a word that comes after the run has ended takes a slot all the same", (
        "services.training.slots:Slots.take", "_known(run, asked.job) or ", "")),
    mutant("hours counted twice", "whoever says it again is counted again", (
        "services.training.slots:Slots.give_back", "if ledger.job(name) == job:", "if True:"), (
        "services.training.queue:Ledger.ended", "if entry:", "if True:"), (
        "services.training.queue:Ledger.ended", "entry = self.running.get(run)",
        'entry = self.running.get(run) or Entry(run=run, job="", tenant="team-x", priority="low", gpus=1, at=None)'), (
        "services.training.slots:Slots._ended", "job = ledger.job(run.name)", 'job = run.data["job"]')),
    mutant("budget not looked at again", "what a run has left is looked at once, when it begins", (
        f"{TRAINING}:_checked", "wishes=(again,)", "wishes=()")),
    mutant("stopped and waited for", "a pod that was stopped and said nothing is waited for, for ever", (
        f"{TRAINING}:_checked", ', Wish("make-sure", {"job": job}, STOPPED_SECONDS))', ",)")),
    mutant("quota told to nobody", "who waits is not called when a quota is raised", (
        "services.quotas.decide:decide", 'wishes=(Wish("offer", {"tenant": quota.tenant, "by": quota.by}),)', "wishes=()")),
    mutant("retry under the old name", "a retried run asks for the job that has failed", (
        f"{TRAINING}:_retried", 'workload_name("train", request.run_id, str(len(retries) + 1))',
        'workload_name("train", request.run_id)')),
    # --- validation, cards, registration
    mutant("judged too early", "judged once the tuned model is measured", (
        f"{VALIDATION}:_measured", '{BASE, TUNED} <= set(data["results"])', 'TUNED in data["results"]')),
    mutant("silent measurement waited for", "a measuring job that died is waited for, for ever", (
        f"{VALIDATION}:_workload", 'if change.phase not in ("failed", "succeeded")', "if True")),
    mutant("thresholds not held", "any measurement passes, in the evaluation alone", (
        f"{VALIDATION}:judged", "passed = all(gate.passed for gate in gates)", "passed = False")),
    mutant("card said and not written", "the card's word goes out, its file does not", (
        "services.cards.effects:effects",
        'stored = ports.artifacts.create(card.markdown, do.arguments["markdown"].encode())\n        if stored.digest',
        "stored = card\n        if stored.digest")),
    mutant("verdict of the withdrawn forgotten", "a version that was withdrawn is not judged any more", (
        f"{REGISTRY}:_validated", "if validated.artifact.manifest_digest !=",
        'if record.status == "DEPRECATED":\n        return None\n    if validated.artifact.manifest_digest !=')),
    mutant("approvals rewritten", "the second approval replaces the first", (
        f"{REGISTRY}:_approved", '[*record.data["approvals"], approval]', "[approval]")),
    mutant("approvals rewritten, no guard", "the same, and the store lets it pass", (
        f"{REGISTRY}:_approved", '[*record.data["approvals"], approval]', "[approval]"), NO_GUARD),
    mutant("other weights registered", "a second final checkpoint changes a registered version", (
        f"{REGISTRY}:new_entry", '"manifest_digest": checkpoint.artifact.manifest_digest,',
        '"manifest_digest": "sha256:" + checkpoint.artifact.manifest_digest[:7],')),
    # --- deployment
    mutant("no approval check", "released without a person's word", (
        f"{VERSIONS}:gates_open", 'return not version["approval_needed"] or approved(version)', "return True")),
    mutant("no approval check, no guard", "the same, and the store lets it pass", (
        f"{VERSIONS}:gates_open", 'return not version["approval_needed"] or approved(version)', "return True"), NO_GUARD),
    mutant("approval of another card", "an approval holds for any card", (
        "shared.lifecycle:approved", 'approval["card_digest"] == gates["card_digest"]', "True")),
    mutant("no gates, no guard", "released without verdict, card or approval", (
        f"{VERSIONS}:gates_open", 'if not (validated and version.get("card_digest")):', "if False:"), NO_GUARD),
    mutant("live before it answers, no guard", "traffic goes to an engine that is starting", (
        f"{RELEASE}:Release._may_answer", '== "ready"', 'in ("starting", "ready")'), NO_GUARD),
    mutant("one engine's name for all starts", "a second start asks for the engine that was stopped", (
        f"{VERSIONS}:Versions.start", ', str(version["starts"])', "")),
    mutant("old engine left running", "the replaced version's engine is not stopped", (
        f"{VERSIONS}:Versions.stop", 'if version["state"] in RUNNING:', 'if version["state"] in ("starting", "ready"):')),
    mutant("superseded left running", "a version that came too late stays ready", (
        f"{RELEASE}:Release._superseded", "return waits and", "return False and")),
    mutant("withdrawn without a word", "the registry is not told that a live version was withdrawn", (
        f"{RELEASE}:Release.withdraw", 'self._speak(self._replaced(name, "", reason, by), name)', "pass")),
    mutant("failure without a word", "the registry is not told that an engine failed", (
        f"{RELEASE}:Release._failed", "self._speak(failed, name)", "pass")),
    mutant("failed live stays live", "traffic goes on to an engine that is gone", (
        f"{RELEASE}:Release.fail", 'live="", ', ""), NO_GUARD),
    mutant("no replacement told", "the registry has two deployed versions of a model", (
        f"{RELEASE}:Release.switch",
        'self._speak(self._replaced(old, name, reason or f"replaced by {name}"), old)', "pass")),
    mutant("address forgotten", "an engine that came back elsewhere is still sought where it was", (
        f"{DEPLOYMENT}:_server", 'if change.phase == "ready" and version["state"] in RUNNING:',
        'if change.phase == "ready" and version["state"] == "starting":')),
    mutant("address of a waiting one forgotten", "an engine that came back elsewhere before it went live is sought there", (
        f"{DEPLOYMENT}:_server", 'if change.phase == "ready" and version["state"] in RUNNING:',
        'if change.phase == "ready" and version["state"] in ("starting", "live"):')),
    # --- canaries, standing by, sleep
    mutant("canary without its gates, no guard", "a version gets a share before it may answer", (
        f"{RELEASE}:Release._may_answer", 'version["state"] == "ready" and gates_open(version)',
        'version["state"] == "ready" and (bool(self.live) or gates_open(version))'), NO_GUARD),
    mutant("weights past one, no guard", "the live version keeps its whole share beside a canary", (
        "services.deployment.rollout:Rollout.weights", "1 - self.now.weight", "1.0"), NO_GUARD),
    mutant("bad canary goes on", "errors of a canary are counted, and not looked at", (
        "services.deployment.analysis:_errors", "if rate <= usual + limits.max_more_errors:", "if True:")),
    mutant("figures of the step before", "what was measured at another share counts", (
        "services.deployment.rollout:Rollout.measured", "if traffic.mark != self.mark:", "if False:")),
    mutant("judge not waited for", "a canary goes on though nobody has judged its answers", (
        "services.deployment.canary:_consider", "and one.judged and ripe", "and ripe")),
    mutant("refused canary ready again", "who went back may go live as if nothing had been", (
        f"{RELEASE}:Release._failed", 'version.update(state="failed", cause=cause, address="")',
        'version.update(state="failed" if "canary" not in cause else "ready", cause=cause)')),
    mutant("kept for ever", "an engine that stands by is not let go", (
        f"{VERSIONS}:Versions.let_go", 'self.stop(name, "retired")', "pass")),
    mutant("asleep and running", "the engine of a version that sleeps is not stopped", (
        f"{VERSIONS}:Versions.sleep", 'self.stop(name, "asleep", DRAIN_SECONDS)',
        'self._data["versions"][name]["state"] = "asleep"')),
    mutant("nobody wakes it", "a request for what sleeps is heard, and nothing follows", (
        "services.deployment.canary:wanted", "release.start(word.version)", "pass")),
    mutant("step never over", "a canary waits at its first share for ever", (
        "services.deployment.canary:_step_over", "one.moment != moment.mark", "True")),
    mutant("how it ended rewritten, no guard", "only the last canary's end is kept", (
        f"{RELEASE}:Release.end", 'self._data["rollouts"].append(known | over)',
        'self._data["rollouts"] = [known | over]'), NO_GUARD),
    # --- engines in common
    mutant("adapters fall without a word", "an engine ends, and who was loaded into it does not hear of it", (
        f"{ENGINES}:_failed", "says=says", "says=()")),
    mutant("an engine for every adapter", "the next adapter starts another server, and the first runs on", (
        f"{ENGINES}:_wanted", 'if data.get("state") in RUNNING:', "if False:")),
    mutant("idle while it carries", "an engine ends though somebody came within the while", (
        f"{ENGINES}:_idle", 'if not since or data["adapters"]:', "if not since:")),
    mutant("never idle", "an engine without adapters runs for ever", (
        f"{ENGINES}:_dropped", "wishes=(wish,)", "wishes=()")),
    mutant("never dropped", "a version that was replaced stays loaded", (
        "services.deployment.effects:effects", 'return [dropped(engine, do.arguments["release"])]', "return []")),
    mutant("lost and not started", "a version whose engine ended waits for nothing", (
        f"{VERSIONS}:Versions.fall_back", "self.start(name)", "pass")),
)  # fmt: skip
