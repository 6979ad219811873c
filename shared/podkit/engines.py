"""Starting an engine of either kind, with what it is told, in a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import yaml

from shared.engine_key import engine_key
from shared.errors import Reject
from shared.forge import environment, vllm
from shared.forge.process import Running, Work, start, start_vllm
from shared.forge.serving import Serving, config, variables, words
from shared.podkit.bases import offline, trainer_environment
from shared.settings import Settings


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """work: folder of the pod's files. log: what the engine prints. key: what clients must show."""

    settings: Settings
    work: Path
    log: Path
    key: str


def key_of(settings: Settings, release: str, file: str = "") -> str:
    """The key that the gateway will show: derived from the release's name, unless a file says another."""
    if not file:
        return engine_key(settings.home, release)
    key = Path(file).read_text(encoding="utf-8").strip()
    if not key:
        raise Reject(f"{file} is empty; it should hold the key that clients must show")
    return key


def starter(told: Serving, place: Place, more: Mapping[str, str] | None = None) -> Callable[[], Running]:
    """Starts it anew with every call. more: variables of this pod's own. Raises Reject (no environment)."""
    place.work.mkdir(parents=True, exist_ok=True)
    place.log.unlink(missing_ok=True)
    own = variables(told, place.key) | dict(more or {})
    if told.engine == "vllm":
        return _vllm(told, place, own)
    trainer = environment.require(place.settings.cache)
    path = place.work / "api.yaml"
    path.write_text(yaml.safe_dump(config(told), sort_keys=True), encoding="utf-8")
    env = trainer_environment(trainer, told.threads) | own
    work = Work(argv=("api", str(path)), env=env, cwd=place.work, log=place.log)
    return lambda: start(work, trainer=trainer, home=place.settings.home)


def _vllm(told: Serving, place: Place, own: Mapping[str, str]) -> Callable[[], Running]:
    found = vllm.require(place.settings.cache)
    hub = {} if offline() else {"HF_HUB_OFFLINE": "0"}
    env = {**vllm.variables(found), **hub, **own}
    work = Work(argv=tuple(words(told)), env=env, cwd=place.work, log=place.log)
    return lambda: start_vllm(work, found)
