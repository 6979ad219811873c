"""The real console over a registry of versions, whose weights lie in a store."""

from __future__ import annotations

from pathlib import Path

from services.console.app import create_app
from services.deployment.pod.fetch import Asked, Follow, Registry
from tests.services.console.wire import Served
from tests.services.console.world import World
from tests.services.deployment.pod.stored import BASE, FILES, Stored

MODEL = "team-x.qa.v1"


class Forge:
    """Two versions: 1.0.0 has FILES, 1.1.0 a file more; none is live."""

    def __init__(self, root: Path) -> None:
        self.stored, self.world = Stored(root), World(root)
        self.digests: dict[str, str] = {}
        self.register("1.0.0", "final", self.stored.digest)
        self.register("1.1.0", "next", self.stored.upload("next", FILES | {"more": b"1.1.0"}))
        self.served = Served(create_app(self.world.ports))
        self.url = f"http://127.0.0.1:{self.served.client.port}"

    def register(self, version: str, name: str, digest: str) -> None:
        """A version whose weights lie in that folder of the store."""
        facts = {"artifact_path": self.stored.path(name).as_uri(), "manifest_digest": digest}
        self.world.model(MODEL, version, "r-1", base_model=BASE, **facts)
        self.digests[version] = digest

    def live(self, version: str) -> None:
        """It is what the registry calls current from now on."""
        self.world.release(MODEL, version)

    def asked(self, engine: str = "", **more: object) -> Asked:
        """What is current; with an engine's URL: to be followed."""
        registry = Registry(url=self.url, model_id=MODEL)
        follow = Follow(engine=engine, name=MODEL, seconds=0.01) if engine else None
        blank = self.stored.part(url="", manifest_digest="")
        return self.stored.asked(blank, registry=registry, follow=follow, **more)

    def close(self) -> None:
        """End the console."""
        self.served.close()
        self.world.database.close()
