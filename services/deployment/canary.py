"""What moves a canary: figures, moments that come, words of operators. Pure.

Every handler answers whether anything follows.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from events.answers_judged import AnswersJudged
from events.model_wanted import ModelWanted
from events.release_due import ReleaseDue
from events.rollout_requested import RolloutRequested
from events.traffic_measured import TrafficMeasured
from events.workload_changed import WorkloadChanged
from services.deployment.release import US, Release
from services.deployment.rollout import Rollout
from shared.errors import Reject

SOON = 1.0


def measured(release: Release, traffic: TrafficMeasured) -> bool:
    """A gateway's window: a canary that does badly goes back at once, one that was waited for goes on."""
    _used(release, traffic)
    if release.rollout is not None:
        release.rollout = release.rollout.measured(traffic)
        _consider(release, ripe=False)
    return True


def judged(release: Release, word: AnswersJudged) -> bool:
    """A sample of answers. A step that is over, and waited for nothing else, ends with it."""
    if release.rollout is None:
        return False
    one = release.rollout = release.rollout.heard(word)
    _consider(release, ripe=one.state == "stepping" and one.waited >= one.now.minutes)
    return True


def judge_ended(release: Release, change: WorkloadChanged) -> bool:
    """The job of the platform's judge. One that ends and has not told of both could not judge: that is no fault of
    the canary's, and takes it nowhere; it is sent again when the step is looked at the next time.
    """
    one = release.rollout
    if one is None or one.judging != change.name or change.phase not in ("succeeded", "failed"):
        return False
    cause = f"{change.reason}: {change.message}" if change.reason else "its judge ended without a word"
    release.rollout = one.changed(judging="", unjudged=cause)
    release.tell("unjudged", cause, US)
    return True


def due(release: Release, moment: ReleaseDue) -> bool:
    """A moment that was set has come."""
    if release.version(moment.version) is None:
        return False
    if moment.what == "keep":
        return release.let_go(moment.version, moment.mark)
    return _idle(release, moment) if moment.what == "idle" else _step_over(release, moment)


def wanted(release: Release, word: ModelWanted) -> bool:
    """Somebody asks for a version that sleeps."""
    version = release.version(word.version)
    if version is None or version["state"] != "asleep" or version["release"] != word.release:
        return False
    release.start(word.version)
    return True


def requested(release: Release, word: RolloutRequested) -> bool:
    """An operator takes a hand in it. Raises Reject where that canary is not under way."""
    one = release.rollout
    if one is None or one.version != word.version:
        under_way = f"of {one.version}" if one else "of none"
        raise Reject(
            f"no canary of version {word.version} is under way, but {under_way}; see `kuznia rollout status`"
        )
    said = word.reason or f"{word.action} by {word.by}"
    if word.action == "promote":
        release.switch(one.version, said, word.by)
    elif word.action == "abort":
        release.go_back("aborted", said, word.by)
    elif word.action == "pause":
        release.rollout = one.changed(state="paused", reason=said)
        release.tell("paused", said, word.by)
    else:
        release.rollout = one.changed(state="stepping", reason=said, waited=0.0, unjudged="")
        release.tell("resumed", said, word.by)
        release.wait()
    return True


def _step_over(release: Release, moment: ReleaseDue) -> bool:
    one = release.rollout
    if one is None or one.state != "stepping" or one.moment != moment.mark:
        return False
    release.rollout = one.changed(waited=one.waited + one.now.minutes)
    _consider(release, ripe=True)
    return True


def _consider(release: Release, *, ripe: bool) -> None:
    """Whether it goes back, goes on, or waits. ripe: the step has lasted for as long as it should."""
    one = release.rollout
    assert one is not None
    verdict = one.verdict()
    ripe = ripe or one.state == "held"
    if verdict.word == "bad":
        release.go_back("went-back", verdict.reason, US)
    elif verdict.word == "good" and one.judged and ripe:
        _go_on(release, one, verdict.reason, f"its canary did well: {verdict.reason}")
    elif ripe and one.state == "stepping":
        _go_without(release, one, enough=verdict.word == "good")


def _go_on(release: Release, one: Rollout, reason: str, end: str) -> None:
    """end: what is said where no step is left."""
    if one.last:
        release.switch(one.version, end)
        return
    release.dismiss()
    release.rollout = one.stepped(release.now.isoformat(), reason)
    release.tell("stepped", reason, US, one.summaries())
    release.wait()


def _go_without(release: Release, one: Rollout, *, enough: bool) -> None:
    """Too few requests came to judge it by, or its answers are not judged. enough: of requests."""
    lacking = f"after {one.waited:g} minutes {one.judgement}" if enough else _few(one)
    promoted = f"{lacking}, and without_traffic is promote"
    if one.patient:
        release.rollout = one.changed(unjudged="")  # so that its judge is sent once more
        release.wait()
    elif one.canary.without_traffic == "hold":
        release.rollout = one.changed(
            state="held", reason=f"{lacking}: it waits for more, or for an operator"
        )
        release.tell("held", release.rollout.reason, US)
    elif enough:
        _go_on(release, one, promoted, promoted)
    else:
        release.switch(one.version, promoted)


def _few(one: Rollout) -> str:
    return f"{one.tally(one.version).requests} of {one.now.requests} requests in {one.waited:g} minutes"


# --- sleep


def _used(release: Release, traffic: TrafficMeasured) -> None:
    """The window counts as used to its end, since it is said at its beginning."""
    figures = traffic.versions.get(release.live)
    version = release.version(release.live)
    if version is None or not (traffic.in_flight or (figures and figures.requests)):
        return
    rest = max(timedelta(0), traffic.until - traffic.since)
    version["used"] = (release.now + rest).isoformat()


def _idle(release: Release, moment: ReleaseDue) -> bool:
    """It sleeps, if nobody asked for it since. Not beside a canary; when that ends, idleness is counted anew."""
    version = release.version(moment.version)
    if version is None or version["state"] != "live" or str(version.get("idle")) != moment.mark:
        return False
    left = _awake(release, moment.version)
    if release.rollout is not None:
        return False
    if left > SOON:
        release.remind("idle", moment.version, moment.mark, left)
    else:
        release.sleep(moment.version)
    return True


def _awake(release: Release, name: str) -> float:
    """Seconds for which it must not sleep yet."""
    allowed = release.plan(name).scale_to_zero_minutes * 60
    used = (release.version(name) or {}).get("used")
    if not used:
        return 0
    elapsed = (release.now - datetime.fromisoformat(used)).total_seconds()
    return min(allowed - elapsed, 2 * allowed)  # a clock that was set back keeps nothing awake for ever
