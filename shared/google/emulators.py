"""The official emulators of Pub/Sub and Firestore, as child processes on free loopback ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import Reject

JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx384m", "-Duser.language=en")
PUBSUB_JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
FIRESTORE_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
ROOTS = (
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "~/google-cloud-sdk",
)
START_SECONDS = 60.0
STOP_SECONDS = 10.0
MEND = (
    "apt install default-jre-headless google-cloud-cli-pubsub-emulator google-cloud-cli-firestore-emulator"
    " (or: gcloud components install pubsub-emulator cloud-firestore-emulator);"
    " CLOUDSDK_ROOT names an SDK that lies elsewhere"
)


class Emulators:
    """Running from `with` to its end; `environment` is what clients need, before they are made."""

    def __init__(self, folder: Path) -> None:
        """folder: for their output. Raises Reject where Java or a jar is missing."""
        missing = faults()
        if missing:
            raise Reject("; ".join(missing) + f". To mend: {MEND}")
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports = (_free_port(), _free_port())

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which Google's own clients find an emulator."""
        pubsub, firestore = self._ports
        return {
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{pubsub}",
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{firestore}",
        }

    def __enter__(self) -> Self:
        """Start both at once, and wait until they answer. Raises Reject with what one printed."""
        pubsub, firestore = self._ports
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            jar = _jar(PUBSUB_JAR)
            self._start("pubsub", ["-jar", str(jar), "--host=127.0.0.1", f"--port={pubsub}"])
            words = [
                "-cp",
                str(_jar(FIRESTORE_JAR)),
                FIRESTORE_MAIN,
                "--host=127.0.0.1",
                f"--port={firestore}",
            ]
            self._start("firestore", words)
            self._wait(f"http://127.0.0.1:{pubsub}/v1/projects/kuznia/topics", "pubsub")
            self._wait(f"http://127.0.0.1:{firestore}/", "firestore")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End them, with whatever they started."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()

    def _start(self, name: str, words: Sequence[str]) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    ["java", *JAVA, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait(self, url: str, name: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            ended = any(process.poll() is not None for process in self._processes)
            if ended or time.monotonic() > deadline:
                said = (self._folder / f"{name}.log").read_text(errors="replace")[-1000:]
                raise Reject(f"the emulator {name} did not start; it said: {said}")
            time.sleep(0.05)


def faults() -> list[str]:
    """What this machine lacks to run them, a line each."""
    found = [] if shutil.which("java") else ["java is not on PATH"]
    return found + [f"{pattern} is in no Google Cloud SDK" for pattern in _missing()]


def _missing() -> list[str]:
    return [pattern for pattern in (PUBSUB_JAR, FIRESTORE_JAR) if _jar(pattern) is None]


def _jar(pattern: str) -> Path | None:
    """The newest jar of that name in any SDK of this machine."""
    roots = [root for root in (os.environ.get("CLOUDSDK_ROOT"), *ROOTS) if root]
    gcloud = shutil.which("gcloud")
    if gcloud:
        roots.append(str(Path(gcloud).resolve().parents[1]))
    found = [jar for root in roots for jar in sorted(Path(root).expanduser().glob(pattern))]
    return found[-1] if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
