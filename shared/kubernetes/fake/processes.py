"""Containers that really run, as processes of this machine, each pod with a loopback address of its own.

A path that a volume is mounted at lies below the pod's folder: commands, arguments and variables are told so.
Nothing is isolated; images are not looked at, and `python` is this program's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from shared.kubernetes.fake.environment import expanded
from shared.kubernetes.fake.objects import Object, find, quantity
from shared.kubernetes.fake.runtime import KILLED, Exit, Start, key_of
from shared.local.cluster import memory, processes

_SIGNALS = 128
_PROBE_SECONDS = 1.0
_LOOK_SECONDS = 0.5  # at its memory
_ENTRYPOINTS = frozenset({"tini", "--"})


class Running:
    """One start of a container."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, limit: float) -> None:
        self.process = process
        self.log = log
        self.limit = limit
        self.starved = False
        self.looked = 0.0


class ProcessRuntime:
    """environment: what all containers see besides their own variables. folder: a subfolder a pod."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._running: dict[str, Running] = {}
        self._logs: dict[str, list[Path]] = {}
        self._addresses: dict[str, str] = {}

    def address(self, pod: Object) -> str:
        """See `Runtime.address`. Of 127.0.0.0/8, so that every pod has all ports."""
        number = len(self._addresses) + 1
        octets = (10 + os.getpid() % 200, number // 250, number % 250 + 2)
        return self._addresses.setdefault(pod["metadata"]["uid"], "127." + ".".join(map(str, octets)))

    def start(self, start: Start) -> None:
        """See `Runtime.start`."""
        root = self._root(start.pod)
        mounts = _mounts(start, root)
        for path, content in start.files.items():
            target = Path(_moved(path, mounts))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        environment = {name: _moved(value, mounts) for name, value in start.environment.items()}
        log = root / f"{start.container['name']}.{len(self._logs.get(start.key, ()))}.log"
        with log.open("wb") as output:
            process = self._spawn(start, mounts, environment, output)
        limit = find(start.container, ("resources", "limits", "memory"))
        self._logs.setdefault(start.key, []).append(log)
        self._running[start.key] = Running(process, log, quantity(limit) if limit else 0)

    def poll(self, key: str) -> Exit | None:
        """See `Runtime.poll`."""
        running = self._running.get(key)
        if running is None:
            return Exit(KILLED, "ContainerStatusUnknown")
        code = running.process.poll()
        if code is None:
            self._starve(running)
            return None
        self._kill_rest(running)
        code = _SIGNALS - code if code < 0 else code
        reason = "OOMKilled" if running.starved else ("Error" if code else "Completed")
        return Exit(code, reason)

    def answers(self, pod: Object, container: str, probe: Object) -> bool:
        """See `Runtime.answers`. Of httpGet and tcpSocket; an exec probe always succeeds."""
        host = find(pod, ("status", "podIP"))
        if "httpGet" in probe:
            port = _port(pod, container, probe["httpGet"]["port"])
            return _get(f"http://{host}:{port}{probe['httpGet'].get('path', '/')}")
        if "tcpSocket" in probe:
            return _knock(host, _port(pod, container, probe["tcpSocket"]["port"]))
        return True

    def end(self, key: str, *, kill: bool) -> None:
        """See `Runtime.end`."""
        running = self._running.get(key)
        if running and running.process.poll() is None:
            if kill:
                self._kill_rest(running)
            else:
                running.process.send_signal(signal.SIGTERM)

    def output(self, key: str, *, previous: bool) -> str:
        """See `Runtime.output`."""
        logs = self._logs.get(key, [])
        chosen = logs[-2:-1] if previous else logs[-1:]
        return chosen[0].read_text(encoding="utf-8", errors="replace") if chosen else ""

    def forget(self, pod: Object) -> None:
        """See `Runtime.forget`."""
        for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]:
            key = key_of(pod, container["name"])
            running = self._running.pop(key, None)
            if running:
                self._kill_rest(running)
            self._logs.pop(key, None)
        shutil.rmtree(self._root(pod), ignore_errors=True)

    def close(self) -> None:
        """Kill all that runs."""
        for running in self._running.values():
            self._kill_rest(running)

    def _root(self, pod: Object) -> Path:
        root = self._folder / str(pod["metadata"]["uid"])
        root.mkdir(parents=True, exist_ok=True)
        return root

    def _spawn(
        self, start: Start, mounts: Mapping[str, str], environment: Mapping[str, str], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        words = [*(start.container.get("command") or ()), *(start.container.get("args") or ())]
        words = [_moved(expanded(word, environment), mounts) for word in words]
        while words and words[0] in _ENTRYPOINTS:
            words = words[1:]
        if not words:
            raise OSError(
                f"container {start.container['name']} has neither command nor args, and images are not read"
            )
        if words[0] in {"python", "python3"}:
            words[0] = sys.executable
        folder = Path(_moved(start.container.get("workingDir") or "", mounts) or self._root(start.pod))
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            words,
            cwd=folder,
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _starve(self, running: Running) -> None:
        now = time.monotonic()
        if not running.limit or running.starved or now - running.looked < _LOOK_SECONDS:
            return
        running.looked = now
        session = running.process.pid
        members = processes.family(processes.table(), lambda process: process.session == session)
        if memory.over(members, int(running.limit)):
            running.starved = True
            self._kill_rest(running)

    def _kill_rest(self, running: Running) -> None:
        """All of its session: what it left behind ends with its container."""
        session = running.process.pid
        members = processes.family(processes.table(), lambda process: process.session == session)
        processes.send(members, signal.SIGKILL)
        running.process.wait()


def _mounts(start: Start, root: Path) -> Mapping[str, str]:
    """Path in the container -> path here, the longest first. A volume is one folder, whoever mounts it."""
    found = {}
    for mount in start.container.get("volumeMounts") or ():
        place = root / "volumes" / mount["name"] / (mount.get("subPath") or "")
        (place.parent if mount["mountPath"] in start.files else place).mkdir(parents=True, exist_ok=True)
        found[mount["mountPath"].rstrip("/")] = str(place).rstrip("/")
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _moved(text: str, mounts: Mapping[str, str]) -> str:
    """With the paths of mounts as they are here."""
    if not mounts:
        return text
    pattern = "|".join(re.escape(path) for path in mounts)
    return re.sub(rf"(?<![\w./-])({pattern})(?=$|[/\s:'\";)])", lambda match: mounts[match[1]], text)


def _port(pod: Object, container: str, port: int | str) -> int:
    if isinstance(port, int):
        return port
    found = next(each for each in pod["spec"]["containers"] if each["name"] == container)
    return int(next(each["containerPort"] for each in found["ports"] if each.get("name") == port))


def _get(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_SECONDS) as response:  # noqa: S310 - an http URL of ours
            return bool(response.status < 400)
    except OSError:
        return False


def _knock(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False
