"""CPU an event behind HTTP: functions-framework (sync, as Cloud Run runs it; and ASGI), raw ASGI, our light host.

All in one run, in turns, one process each, the same pushes from the same client; the handler does nothing, so what
is measured is the way to it. Goal: the light host within 1.3 times raw ASGI.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from events.envelope import Event
from shared.google import message

START_SECONDS = 60.0
GOAL = 1.3
FRAMEWORK = str(Path(sys.executable).with_name("functions-framework"))
RAW = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            word = (await receive())["type"]
            await send({"type": word + ".complete"})
            if word == "lifespan.shutdown":
                return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""
LIGHT = """
import socket, sys
from shared.hosts.door import Answer
from shared.hosts.http import handler
from shared.hosts.light import LightServer


class Door:
    def refusal(self, headers):
        return None

    def hear(self, name, event):
        return Answer(status=204)


def run(port):
    LightServer(socket.create_server(("127.0.0.1", port)), handler(Door())).serve()
"""
FUNCTION = """
from services.training import SERVICE
from shared.hosts.door import Answer
from shared.hosts.http import target


class Door:
    def refusal(self, headers):
        return None

    def hear(self, name, event):
        return Answer(status=204)


training = target(SERVICE, lambda _: Door())
"""
UVICORN = (
    "import uvicorn, {module}; uvicorn.run({module}.app, port={port}, access_log=False, log_level='error')"
)


def main() -> int:
    """Print a table, or JSON; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3000, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), asked.events, asked.rounds)
    base = rows["raw ASGI"]
    told = {
        name: {"cpu_us": round(cpu * 1e6, 1), "of_raw": round(cpu / base, 2)} for name, cpu in rows.items()
    }
    if asked.json:
        print(json.dumps(told, indent=2))
    else:
        print(f"CPU an event, median of {asked.rounds} rounds of {asked.events}:")
        for name, row in told.items():
            print(f"  {name:<28} {row['cpu_us']:>8.1f} µs   {row['of_raw']:.2f} × raw ASGI")
    return 0 if told["light host"]["of_raw"] <= GOAL else 1


def measure(folder: Path, events: int, rounds: int) -> Mapping[str, float]:
    """Seconds of CPU an event, by host."""
    for name, text in (("raw_app", RAW), ("light_app", LIGHT), ("main", FUNCTION)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    found: dict[str, list[float]] = {name: [] for name in commands(folder, 0)}
    for _ in range(rounds):
        for name, costs in found.items():
            port = free_port()
            with serving(commands(folder, port)[name], folder, port) as pid:
                costs.append(cost(pid, port, events))
    return {name: median(costs) for name, costs in found.items()}


def commands(folder: Path, port: int) -> Mapping[str, Sequence[str]]:
    """How each host is started."""
    framework = [FRAMEWORK, "--source", str(folder / "main.py"), "--target", "training"]
    here = ["--host", "127.0.0.1", "--port", str(port)]
    return {
        "raw ASGI": [sys.executable, "-c", UVICORN.format(module="raw_app", port=port)],
        "light host": [sys.executable, "-c", f"import light_app; light_app.run({port})"],
        "functions-framework": [*framework, *here],
    }


@contextmanager
def serving(command: Sequence[str], folder: Path, port: int) -> Iterator[int]:
    """Its process id, once it answers."""
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment(folder))
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def environment(folder: Path) -> dict[str, str]:
    """One worker, and the little applications importable."""
    return {**os.environ, "PYTHONPATH": str(folder), "WORKERS": "1", "THREADS": "4"}


def cost(pid: int, port: int, events: int) -> float:
    """Seconds of CPU an event, of the process and its children, after a warm-up."""
    push(port, events // 10)
    before = cpu(pid)
    push(port, events)
    return (cpu(pid) - before) / events


def push(port: int, count: int) -> None:
    """As Pub/Sub does, unwrapped with metadata, on one connection that is kept."""
    event = Event(
        id="e-1",
        name="training-progressed",
        source="/kuznia/training",
        subject="runs/r-0123456789abcdef",
        time=datetime.now(UTC),
        data={"run_id": "r-0123456789abcdef", "attempt": 1, "phase": "training", "step": 1, "total_steps": 9},
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    headers, body = message.attributes(event), message.body(event)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        connection.request("POST", "/training", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise SystemExit(f"port {port} answered {answer.status}")
    connection.close()


def cpu(pid: int) -> float:
    """Seconds of CPU of a process and those it started, so far."""
    return sum(_cpu(one) for one in (pid, *_children(pid)))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(one) for one in found]


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
