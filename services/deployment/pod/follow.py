"""Follows the registry while an engine runs: the next version of an adapter is loaded into it, without a restart.

`python -m services.deployment.pod.follow` stands beside the engine's container. It reads the same file as `fetch`,
whose section `follow` says where the engine is; ENGINE_KEY is the key that the engine asks for. The weights always
lie in the one folder that the engine was started with, so that an engine which starts again loads the newest.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.deployment.pod.bring import Part, say
from services.deployment.pod.current import Current
from services.deployment.pod.fetch import RECEIPT, WEIGHTS, Asked, Follow, ask_registry, fetch_current, read
from shared.errors import KuzniaError, Reject, Retry
from shared.podkit.patience import Patience
from shared.told import Told
from shared.web.asking import ask

KEY = "ENGINE_KEY"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """As the cluster starts it; ends when it is told to."""
    with Told() as stopped:
        try:
            follower = Follower(read(environ), environ.get(KEY, ""), Patience(tries=2))
        except KuzniaError as error:
            say(str(error))
            return 1
        while not stopped.wait(follower.seconds):
            follower.look()
    return 0


class Follower:
    """asked: what was fetched, and from whom to hear of the next. Raises Reject where nothing is to be followed."""

    def __init__(self, asked: Asked, key: str, patience: Patience) -> None:
        part = next((part for part in asked.parts if part.name == WEIGHTS), None)
        if asked.follow is None or asked.registry is None or part is None or asked.kind != "adapter":
            raise Reject(
                "there is nothing to follow: it takes an adapter, a registry, and a section `follow`"
            )
        self._asked, self._part, self._patience = asked, part, patience
        self._registry, self._engine = asked.registry, Engine(asked.follow, key)
        self._folder = Path(part.folder)
        self._refused: Current | None = None
        self._said = ""

    @property
    def seconds(self) -> float:
        """Between two looks."""
        return self._engine.follow.seconds

    def look(self) -> None:
        """Ask once; bring and load what is new. What goes wrong is said once, and tried again at the next look;
        a version that was refused is not, until the registry names another.
        """
        try:
            found = ask_registry(self._registry, self._patience)
            if found == self._refused:
                return
            self._refused = None
            if found == self._loaded():
                return
            self._change(found)
            self._said = ""
        except (KuzniaError, OSError) as error:
            if str(error) != self._said:
                self._said = str(error)
                say(f"not followed: {error}")

    def _loaded(self) -> Current | None:
        """None too where a kill between two renames left the place empty."""
        if not self._folder.exists():
            return None
        try:
            return msgspec.json.decode(self._folder.with_name(RECEIPT).read_bytes(), type=Current)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _change(self, found: Current) -> None:
        fresh, old = self._folder.with_name("next"), self._folder.with_name("previous")
        try:
            fetch_current(self._aside(fresh), self._asked, found, self._patience)
            _swap(self._folder, fresh, old)
            try:
                self._engine.load(self._folder)
            except KuzniaError:
                if old.exists():
                    _swap(self._folder, old, fresh)
                raise
        except Reject:
            self._refused = found
            raise
        self._folder.with_name(RECEIPT).write_bytes(msgspec.json.encode(found))
        shutil.rmtree(old, ignore_errors=True)
        say(f"version {found.version} answers from now on")

    def _aside(self, folder: Path) -> Part:
        return msgspec.structs.replace(self._part, folder=str(folder))


class Engine:
    """The vLLM beside us, past its gate."""

    def __init__(self, follow: Follow, key: str) -> None:
        self.follow = follow
        self._headers = {"Authorization": f"Bearer {key}", "X-Kuznia-Gate": key}

    def load(self, folder: Path) -> None:
        """In the place of what it has under the name. Raises Reject (it will not), Retry (it is not up yet)."""
        body = {"lora_name": self.follow.name, "lora_path": str(folder), "load_inplace": True}
        reply = ask("POST", f"{self.follow.engine}/v1/load_lora_adapter", self._headers, body)
        if reply.status == 200:
            return
        told = reply.body.decode("utf-8", "replace")[:300]
        word = Reject if reply.status == 400 else Retry
        raise word(f"the engine does not load it ({reply.status}): {told}")


def _swap(place: Path, fresh: Path, old: Path) -> None:
    """What is fresh takes the place; what was there, if anything was, is kept as old."""
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    fresh.rename(place)


if __name__ == "__main__":
    sys.exit(main())
