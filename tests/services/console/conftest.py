"""A forge with something in it, and the console in front of it."""

from __future__ import annotations

import pytest

from services.console.app import create_app
from tests.services.console.scene import fill
from tests.services.console.wire import Served
from tests.services.console.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("console"))
    fill(made)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def client(world):
    served = Served(create_app(world.ports))
    yield served.client
    served.close()


@pytest.fixture
def serve():
    """Serve an app until the test ends; gives its client."""
    begun = []

    def begin(app):
        begun.append(Served(app))
        return begun[-1].client

    yield begin
    for served in begun:
        served.close()


@pytest.fixture
def empty(tmp_path, serve):
    """A forge in which nothing has happened, and a client of its console."""
    made = World(tmp_path)
    yield made, serve(create_app(made.ports))
    made.database.close()
