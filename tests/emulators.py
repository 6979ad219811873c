"""The official emulators of Pub/Sub and Firestore, once a session, for tests that use the fixture `emulators`.

Where they run already (PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST are set) those are used.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from shared.google.emulators import Emulators, faults

VARIABLES = ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")
PACKAGES = "google.cloud.pubsub_v1", "google.cloud.firestore_v1"


def there(module: str) -> bool:
    """Whether a module of the extras is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="session")
def emulators(
    capability: Callable[[str, bool, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    """The variables by which clients find them; they are set. Isolate by a project of the test's own."""
    capability("emulators", all(map(there, PACKAGES)), "Google's clients: make contracts")
    known = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if len(known) == len(VARIABLES):
        yield known
        return
    missing = faults()
    capability("emulators", not missing, f"the official emulators ({'; '.join(missing)})")
    with Emulators(tmp_path_factory.mktemp("emulators")) as running:
        os.environ.update(running.environment)
        yield running.environment
        for name in VARIABLES:
            del os.environ[name]
