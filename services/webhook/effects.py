"""What a push asks for: fetch it, and say which experiments it changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from events.config_committed import ConfigCommitted
from events.parts import Folder, FolderFile, Source
from events.push_received import PushReceived
from services.webhook.decide import NO_COMMIT
from services.webhook.experiments import Found, changed, experiments
from shared.experiment.folder import TEXT_LIMIT, is_read
from shared.experiment.locations import roots_of
from shared.git import Entry, Mirror
from shared.identity import run_id, workload_name
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

log = logging.getLogger("kuznia.webhook")


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`inspect`: a `config-committed` for each experiment folder whose tree is new."""

    def inspect(do: Do, _record: Record) -> Sequence[Speech]:
        push = msgspec.convert(do.arguments, PushReceived)
        mirror = Mirror(ports.settings.home / "git" / f"{workload_name(push.repository)}.git")
        mirror.fetch(push.url, push.branch)
        if not mirror.has(push.after):
            log.info(
                "%s: %s was pushed over meanwhile; the later push has it all", push.repository, push.after
            )
            return []
        folders = ports.store.load(f"repositories/{push.repository}").data.get("folders", [])
        return [_committed(mirror, push, found) for found in _changed(mirror, push, folders)]

    return {"inspect": inspect}


def _changed(mirror: Mirror, push: PushReceived, folders: Sequence[str]) -> list[Found]:
    after = _experiments(mirror, push.after, folders)
    known = push.before != NO_COMMIT and mirror.has(push.before)
    return changed(after, _experiments(mirror, push.before, folders) if known else {})


def _experiments(mirror: Mirror, commit: str, folders: Sequence[str]) -> dict[str, Found]:
    return experiments(mirror.entries(commit), mirror.tree(commit), folders)


def _committed(mirror: Mirror, push: PushReceived, found: Found) -> Speech:
    identifier = run_id(push.repository, found.path, found.tree)
    source = Source(
        repository=push.repository,
        url=push.url,
        experiment=found.path,
        commit=push.after,
        tree=found.tree,
        branch=push.branch,
        author=mirror.author(push.after),
    )
    payload = ConfigCommitted(
        run_id=identifier,
        source=source,
        folder=_folder(mirror, push.after, found.path),
        data_roots=roots_of(),
    )
    return Speech(payload, f"runs/{identifier}")


def _folder(mirror: Mirror, commit: str, path: str) -> Folder:
    prefix = "" if path == "." else f"{path}/"
    entries = [entry for entry in mirror.entries(commit, prefix.rstrip("/")) if entry.kind != "tree"]
    inside = [msgspec.structs.replace(entry, path=entry.path.removeprefix(prefix)) for entry in entries]
    texts = {entry.path: mirror.text(entry.object) for entry in inside if _to_read(entry)}
    return Folder(files=tuple(_file(entry) for entry in inside), texts=texts)


def _to_read(entry: Entry) -> bool:
    return entry.kind == "file" and entry.size <= TEXT_LIMIT and is_read(entry.path)


def _file(entry: Entry) -> FolderFile:
    return msgspec.convert(
        {"path": entry.path, "size": entry.size, "digest": entry.object, "kind": entry.kind}, FolderFile
    )
