"""The base model and the variables that a pod gives its trainer process."""

from __future__ import annotations

import os

import msgspec

from shared.errors import Reject
from shared.forge.environment import Trainer, environment
from shared.forge.models import BaseModel, commit_folder, folder, is_commit, resolve
from shared.hub import client, stored
from shared.hub.snapshot import bring
from shared.podkit.patience import Patience
from shared.ports.artifacts import Artifacts
from shared.settings import Settings
from shared.storage.open import open_artifacts


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """`base.json` of a run: which base model it is about, for all its pods and every start of them.

    asked: what config.yaml says (`model_revision`), empty for nothing. revision, digest: what that was.
    """

    name: str
    asked: str
    revision: str
    digest: str


def pinned(settings: Settings, artifacts: Artifacts, place: str, name: object, asked: str) -> BaseModel:
    """The base model of a run. What a branch or tag stands for is asked once: whoever comes first writes it down.

    place: folder of the run in the artifact store. Raises Reject, Retry.
    """
    path, patience = f"{place}/base.json", Patience()
    known = patience.insist("reading the pin", lambda: _read(artifacts, path))
    if known and known.name != name:  # no run of ours: its content, and so its config, is its identity
        return base_model(settings, name, asked)
    if known is None:
        found = base_model(settings, name, asked)
        pin = Pin(name=found.name, asked=asked, revision=found.revision, digest=found.digest)
        known = patience.insist("keeping the pin", lambda: _keep(artifacts, path, pin))
        if known == pin:
            return found
    return base_model(settings, name, known.revision)


def base_model(settings: Settings, name: object, revision: str = "") -> BaseModel:
    """The base model at this revision: on this machine, from the store of KUZNIA_BASES, or from the hub where that
    may be asked.

    Raises Reject where it is neither here nor to be had, or is no name of a model; Retry where the hub is not there.
    """
    if not isinstance(name, str) or not name:
        raise Reject("config.yaml: model_name_or_path is missing; name a base model, as on the hub")
    found = resolve(settings.models, name, revision)
    made_here = found is not None and found.path == folder(settings.models, name)
    if found and (offline() or made_here or is_commit(revision)):
        return found
    url = os.environ.get(stored.VARIABLE)
    if url and (kept := stored.bring_stored(open_artifacts(url), settings.models, name, revision)):
        return kept
    if offline():
        raise Reject(_missing(settings, name, revision))
    return bring(client.from_environment(), settings.models, name, revision)


def trainer_environment(trainer: Trainer, threads: int) -> dict[str, str]:
    """Variables of a trainer process: the platform's; quiet, so that its log says what matters."""
    env = environment(trainer, threads=threads) | {"LLAMAFACTORY_VERBOSITY": "WARN"}
    return env if offline() else env | {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}


def offline() -> bool:
    """Whether the model hub must not be asked; so it is, unless HF_HUB_OFFLINE says otherwise."""
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() in {"1", "true", "yes", "on"}


def _missing(settings: Settings, name: str, revision: str) -> str:
    at = f"@{revision}" if revision else ""
    place = commit_folder(settings.models, name, revision) if is_commit(revision) else settings.models
    return (
        f"base model {name}{at} is not on this machine ({place}), and the model hub is not asked"
        f" (HF_HUB_OFFLINE): fetch it with `kuznia bases fetch {name}{at}` here, or where there is a way to the"
        " hub and copy the folder, here or to a store that KUZNIA_BASES names (gs://…); or let pods ask the hub"
        " with HF_HUB_OFFLINE=0"
    )


def _read(artifacts: Artifacts, path: str) -> Pin | None:
    try:
        return msgspec.json.decode(artifacts.read(path), type=Pin)
    except FileNotFoundError:
        return None


def _keep(artifacts: Artifacts, path: str, pin: Pin) -> Pin:
    """What holds from now on: this, or what another pod wrote down first."""
    try:
        artifacts.create(path, msgspec.json.encode(pin))
    except Reject:
        return _read(artifacts, path) or pin
    return pin
