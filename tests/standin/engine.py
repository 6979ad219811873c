"""`llamafactory-cli api`: the OpenAI-compatible server, as far as gateway and cluster see it.

Options: STANDIN_LOAD_SECONDS (before it listens, 0), STANDIN_NEVER_READY (it listens and never answers 200),
STANDIN_ANSWER_SECONDS (of one answer, 0), STANDIN_ENGINE_DIES (it ends at once, with an error).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import weights  # type: ignore[import-not-found] # beside us: this runs as a script
import yaml

_STOP_SECONDS = 10.0


class Engine(ThreadingHTTPServer):
    """table: what it knows. busy: requests under way."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], table: dict[str, str]) -> None:
        super().__init__(address, Handler)
        self.table = table
        self.busy = 0
        self.lock = threading.Lock()

    def stop(self, *_: object) -> None:
        """No new connections; it ends once the answers under way are out."""
        threading.Thread(target=self._drain).start()

    def _drain(self) -> None:
        self.shutdown()
        self.socket.close()
        until = time.monotonic() + _STOP_SECONDS
        while self.busy and time.monotonic() < until:
            time.sleep(0.01)
        os._exit(0)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Engine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/docs` and `/v1/models`."""
        if os.environ.get("STANDIN_NEVER_READY"):
            self._json(503, {"detail": "loading"})
        elif self.path == "/docs":
            self._json(200, {})
        else:
            model = {"id": os.environ["API_MODEL_NAME"], "object": "model", "owned_by": "owner"}
            self._json(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        """`/v1/chat/completions`."""
        with self.server.lock:
            self.server.busy += 1
        try:
            self._chat(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def log_message(self, *_: object) -> None:
        """Silent: a real engine's access log is off as well."""

    def _chat(self, asked: dict[str, Any]) -> None:
        time.sleep(float(os.environ.get("STANDIN_ANSWER_SECONDS", "0")))
        text = weights.answer(self.server.table, asked["messages"][-1]["content"])
        if not asked.get("stream"):
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
            usage = {"prompt_tokens": 1, "completion_tokens": len(text.split()), "total_tokens": 1}
            self._json(200, _object("chat.completion", [choice]) | {"usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for word in text.split(" "):
            self._event({"index": 0, "delta": {"role": "assistant", "content": word + " "}})
        self._event({"index": 0, "delta": {}, "finish_reason": "stop"})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choice: dict[str, Any]) -> None:
        self.wfile.write(
            b"data: " + json.dumps(_object("chat.completion.chunk", [choice])).encode() + b"\n\n"
        )

    def _json(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _object(kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    model = os.environ["API_MODEL_NAME"]
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, "choices": choices}


def main(path: str) -> None:
    """Serve by a YAML file, at API_HOST and API_PORT, until SIGTERM."""
    if os.environ.get("STANDIN_ENGINE_DIES"):
        raise SystemExit("ValueError: the stand-in was told to die")
    table = weights.loaded(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    time.sleep(float(os.environ.get("STANDIN_LOAD_SECONDS", "0")))
    engine = Engine((os.environ["API_HOST"], int(os.environ["API_PORT"])), table)
    signal.signal(signal.SIGTERM, engine.stop)
    sys.stdout.write("Uvicorn's place is taken by the stand-in\n")
    sys.stdout.flush()
    engine.serve_forever(poll_interval=0.05)
    time.sleep(_STOP_SECONDS + 1)  # the thread that drains ends the process
