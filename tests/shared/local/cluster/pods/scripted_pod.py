"""A pod that does what its document says: `{"steps": [[action, argument…], …]}`, one after the other."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HELD: list[object] = []


def note(path: str) -> None:
    """Append attempt and pid, in one write."""
    with Path(path).open("a") as file:
        file.write(f"{os.environ.get('KUZNIA_ATTEMPT', '?')} {os.getpid()}\n")


def say(text: str) -> None:
    print(text)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def leave(code: int) -> None:
    sys.exit(code)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def on_attempt(number: int, *step: object) -> None:
    if int(os.environ["KUZNIA_ATTEMPT"]) == number:
        act(*step)


def once(path: str, *step: object) -> None:
    """What is done by the first of all that look at this path."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return
    act(*step)


def allocate(mib: int) -> None:
    HELD.append(bytearray(os.urandom(1024)) * (1024 * mib))


def share(mib: int, forks: int) -> None:
    """The same memory, seen by several processes."""
    memory = mmap.mmap(-1, mib * 1024 * 1024)
    memory.write(b"x" * (mib * 1024 * 1024))
    HELD.append(memory)
    for _ in range(forks):
        if os.fork() == 0:
            memory.seek(0)
            while memory.read(4096):
                pass
            time.sleep(600)


def ignore_term() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def on_term(code: int, path: str) -> None:
    def handle(number: int, frame: object) -> None:
        note(path)
        sys.exit(code)

    signal.signal(signal.SIGTERM, handle)


def child(path: str, *, listed: bool = False, clean: bool = False, session: bool = True) -> None:
    """A helper of 100 MiB that outlives us; its pid goes to the path."""
    environment = {} if clean else None
    hungry = "import time; held = bytearray(b'x') * (100 * 2**20); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", hungry], start_new_session=session, env=environment)
    HELD.append(process)
    if listed:
        with Path(os.environ["KUZNIA_CHILDREN"]).open("a") as file:
            file.write(f"{process.pid}\n")
    whole = Path(path)
    whole.with_suffix(".new").write_text(str(process.pid))
    whole.with_suffix(".new").rename(whole)


def listed_child(path: str) -> None:
    child(path, listed=True, clean=True)


def unlisted_child(path: str) -> None:
    child(path)


def group_child(path: str) -> None:
    child(path, session=False, clean=True)


def serve(path: str, life: float = 600, code: int = 0) -> None:
    """Answer 200 at the path for so many seconds, then leave."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == path else 404)
            self.end_headers()
            self.wfile.write(os.environ.get("KUZNIA_ATTEMPT", "?").encode())

        def log_message(self, *arguments: object) -> None:
            pass

    host, port = os.environ["KUZNIA_ADDRESS"].split(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    time.sleep(life)
    os._exit(code)


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.02)


def environment(path: str) -> None:
    Path(path).write_text(json.dumps({**os.environ, "cwd": str(Path.cwd()), "sid": os.getsid(0)}))


def copy_document(path: str) -> None:
    Path(path).write_bytes(Path(os.environ["KUZNIA_POD"]).read_bytes())


def act(name: str, *arguments: object) -> None:
    globals()[name](*arguments)


if __name__ == "__main__":
    document = json.loads(Path(os.environ["KUZNIA_POD"]).read_text())
    for step in document["steps"]:
        act(*step)
