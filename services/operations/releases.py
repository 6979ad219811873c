"""Checks of what answers: one live version a model, through every gate, the one that the registry names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.identity import content_digest
from shared.lifecycle import approved
from shared.operations.doctor import Finding, Patient
from shared.operations.engines import server_of
from shared.operations.reading import every_record
from shared.podkit.manifests import NAME as MANIFEST
from shared.record import Record

Version = Mapping[str, Any]
ROUNDING = 1e-9
WAITS_HOURS = 24.0


def one_live(patient: Patient) -> Iterator[Finding]:
    """Exactly the version that the release names is in the state live, or sleeps, or is on its way back."""
    for release in every_record(patient.store, "releases"):
        live = release.data.get("live", "")
        states = {
            n for n, v in release.data.get("versions", {}).items() if v.get("state") in _names(n == live)
        }
        if states != ({live} if live else set()):
            said = ", ".join(sorted(states)) or "none"
            yield Finding(
                check="one-live",
                what=f"names {live or 'no version'} as live, but in the state live: {said}",
                where=release.key,
                mend=f"`kuznia doctor --deep` tells whether the log says so too; `kuznia rollback {release.name}`"
                " makes one version the live one",
            )


def gates(patient: Patient) -> Iterator[Finding]:
    """What answers has a passed validation of these weights, a card, and an approval where it needs one."""
    for release, version in [*_live(patient), *_canaries(patient)]:
        for what in _closed(version):
            yield _withdraw("gates", release, version, what)


def weights(patient: Patient) -> Iterator[Finding]:
    """Beside a canary the shares of the requests add up to 1; a canary that waits for a person is told of."""
    for release in every_record(patient.store, "releases"):
        shares, rollout = release.data.get("weights") or {}, release.data.get("rollout") or {}
        if shares and abs(sum(shares.values()) - 1) > ROUNDING:
            yield Finding(
                check="weights",
                what=f"shares its requests as {shares}, which does not add up to 1",
                where=release.key,
                mend=f"`kuznia rollout abort {release.name}` gives all of them to the live version",
            )
        waits = rollout.get("state") in ("held", "paused")
        if waits and patient.since(release.updated_at) > WAITS_HOURS * 3600:
            yield Finding(
                check="weights",
                what=f"canary {rollout['version']} is {rollout['state']}: {rollout['reason']}",
                where=release.key,
                mend=f"`kuznia rollout promote {release.name}`, `resume` or `abort`",
            )


def registered(patient: Patient) -> Iterator[Finding]:
    """DEPLOYED in the registry if and only if live, under the same digests."""
    live = {
        f"models/{release.name}@{version['version']}": (release, version)
        for release, version in _live(patient)
    }
    for model in every_record(patient.store, "models"):
        if model.status == "DEPLOYED" and model.key not in live and _settled(patient, model):
            release = patient.store.load(f"releases/{model.data['model_id']}")
            if release.revision == 0 or _settled(patient, release):
                yield Finding(
                    check="registry",
                    what="the registry says DEPLOYED, but it does not answer",
                    where=model.key,
                    mend=f"if it was withdrawn: `kuznia deprecate {model.name} --reason …`;"
                    f" if it should answer: `kuznia rollback {model.data['model_id']} --to {model.data['version']}`",
                )
    for key, (release, version) in live.items():
        model = patient.store.load(key)
        if _settled(patient, release) and _settled(patient, model):
            yield from _agree(release, version, model)


def documents(patient: Patient) -> Iterator[Finding]:
    """Weights and card of what answers lie in the store, as they were judged."""
    for release, version in _live(patient):
        model = patient.store.load(f"models/{release.name}@{version['version']}")
        yield from document_faults(patient, model)


def all_documents(patient: Patient) -> Iterator[Finding]:
    """The same of every version of the registry."""
    for model in every_record(patient.store, "models"):
        yield from document_faults(patient, model)


def engines(patient: Patient) -> Iterator[Finding]:
    """What answers has an engine that is ready."""
    if patient.workloads is None or not patient.up:
        return
    ready = {status.name for status in patient.workloads if status.phase == "ready"}
    for release, version in _live(patient):
        server = server_of(patient.store, version)
        sleeps = version.get("state") in ("asleep", "starting")
        if not sleeps and server not in ready and _settled(patient, release):
            yield Finding(
                check="engines",
                what=f"is live, but its engine {server} is not ready",
                where=f"{release.name}@{version['version']}",
                mend=f"`kuznia logs {server}`; `kuznia rollback {release.name}` lets the version"
                " before answer",
            )


def document_faults(patient: Patient, model: Record) -> Iterator[Finding]:
    """Of one version: its manifest, its card and its report, if they are not what was registered."""
    data = model.data
    validation = data.get("validation") or {}
    promised = [
        ("weights", f"{_prefix(data)}/{MANIFEST}", data.get("manifest_digest")),
        ("card", data.get("card_path"), data.get("card_digest")),
        ("report", validation.get("report"), validation.get("report_digest")),
    ]
    for what, path, digest in promised:
        if not (path and digest):
            continue
        found = _digest(patient, path)
        if found != digest:
            state = f"is {found}, not {digest}" if found else "is gone"
            yield Finding(
                check="documents",
                what=f"its {what} ({path}) {state}",
                where=model.key,
                mend=f"bring {path} back from the backup of the artifacts, as it was",
            )


def _live(patient: Patient) -> Iterator[tuple[Record, Version]]:
    for release in every_record(patient.store, "releases"):
        name = release.data.get("live", "")
        version = release.data.get("versions", {}).get(name)
        if version:
            yield release, version


def _names(ours: bool) -> frozenset[str]:
    """States of a version that answers, or will once it is asked."""
    return frozenset({"live", "asleep", "starting"}) if ours else frozenset({"live", "asleep"})


def _canaries(patient: Patient) -> Iterator[tuple[Record, Version]]:
    """Versions that get a share, beside the live one."""
    for release in every_record(patient.store, "releases"):
        for name in release.data.get("weights") or {}:
            if name != release.data.get("live"):
                yield release, release.data["versions"][name]


def _closed(version: Version) -> list[str]:
    closed = []
    if version.get("manifest_digest") != version.get("validated_digest"):
        closed.append("no passed validation of the weights that answer")
    if not version.get("card_digest"):
        closed.append("no card")
    if version.get("approval_needed") and not approved(
        {"manifest_digest": "", "card_digest": "", "approvals": [], **version}
    ):
        closed.append("no approval of these weights and this card")
    return closed


def _agree(release: Record, version: Version, model: Record) -> Iterator[Finding]:
    if model.status != "DEPLOYED":
        known = model.status or "no such version"
        yield _withdraw("registry", release, version, f"the registry says {known}")
    for digest in ("manifest_digest", "card_digest"):
        if model.revision and model.data.get(digest) != version.get(digest):
            what = f"{digest} is {version.get(digest)}, registered is {model.data.get(digest)}"
            yield _withdraw("registry", release, version, what)


def _withdraw(check: str, release: Record, version: Version, what: str) -> Finding:
    name = f"{release.name}@{version['version']}"
    return Finding(
        check=check,
        what=f"answers with {what}" if check == "gates" else f"answers, but {what}",
        where=name,
        mend=f"`kuznia trace {name}` tells how; `kuznia deprecate {name} --reason …` withdraws it at once",
    )


def _settled(patient: Patient, record: Record) -> bool:
    """Whether other records had time to follow it."""
    return patient.since(record.updated_at) >= patient.patience.settle


def _prefix(data: Mapping[str, Any]) -> str:
    return str((data.get("artifact") or {}).get("uri") or data.get("artifact_path", ""))


def _digest(patient: Patient, path: str) -> str:
    try:
        return content_digest(patient.artifacts.read(path))
    except FileNotFoundError:
        return ""
