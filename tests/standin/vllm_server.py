"""`vllm serve`, as far as the pods see it: health, models, chat, and adapters that come and go while it runs.

Declared as what it is: its environment's stamp says `standin`. An adapter whose rank is over --max-lora-rank is
refused as vLLM refuses it. Options: STANDIN_LOAD_SECONDS (before it listens, 0), STANDIN_ENGINE_DIES (it ends at
once, with an error).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server(ThreadingHTTPServer):
    """models: name -> folder, the base first. chosen: the words it was started with. open: it takes questions."""

    daemon_threads = True

    def __init__(self, words: list[str]) -> None:
        self.chosen = words
        self.open = "KUZNIA_AGENT" not in os.environ
        self.models = {self.word("--served-model-name"): words[1]}
        for module in self.words("--lora-modules"):
            name, _, folder = module.partition("=")
            self.models[name] = folder
        super().__init__((self.word("--host"), int(self.word("--port"))), Handler)

    def word(self, flag: str) -> str:
        return self.chosen[self.chosen.index(flag) + 1]

    def words(self, flag: str) -> list[str]:
        if flag not in self.chosen:
            return []
        rest = self.chosen[self.chosen.index(flag) + 1 :]
        end = next((at for at, word in enumerate(rest) if word.startswith("--")), len(rest))
        return rest[:end]


class Handler(BaseHTTPRequestHandler):
    """One connection; the gate's rules, shortly."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self._json(200, {})
        elif self.path == "/v1/models" and self._has_key():
            self._json(200, {"data": [{"id": name} for name in self.server.models]})
        elif self.path == "/v1/models":
            self._json(401, {"error": "Unauthorized"})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"null")
        if self.path == "/kuznia/reload" and self._has_key():
            os.kill(int(os.environ["KUZNIA_AGENT"]), signal.SIGUSR1)
            self._json(202, {})
        elif not self._has_key():
            self._json(401, {"error": "Unauthorized"})
        elif self.path == "/kuznia/open" and self._is_agent():
            self.server.open = True
            self._json(200, {})
        elif self.path == "/v1/chat/completions" and not self.server.open:
            self._json(503, {"error": {"message": "Adapters are being loaded."}})
        elif self.path == "/v1/chat/completions":
            self._chat(body)
        elif not self._is_agent():
            self._json(404, {"detail": "Not Found"})
        elif self.path == "/v1/load_lora_adapter":
            self._load(body["lora_name"], Path(body["lora_path"]))
        elif self.path == "/v1/unload_lora_adapter":
            known = self.server.models.pop(body["lora_name"], None)
            said = "Success" if known else f"The lora adapter '{body['lora_name']}' cannot be found."
            self._json(200 if known else 404, said if known else {"error": {"message": said}})

    def log_message(self, *_: object) -> None:
        """Silent."""

    def _has_key(self) -> bool:
        return self.headers["authorization"] == f"Bearer {os.environ.get('VLLM_API_KEY')}"

    def _is_agent(self) -> bool:
        return self.headers["x-kuznia-gate"] == os.environ.get("KUZNIA_GATE_SECRET", "nobody's")

    def _load(self, name: str, folder: Path) -> None:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        most = int(self.server.word("--max-lora-rank"))
        fault = ""
        if name in self.server.models:
            fault = f"The lora adapter '{name}' has already been loaded."
        elif config["r"] > most:
            fault = f"LoRA rank {config['r']} is greater than max_lora_rank {most}."
        else:
            self.server.models[name] = str(folder)
        self._json(400 if fault else 200, {"error": {"message": fault}} if fault else "Success")

    def _chat(self, asked: dict[str, Any]) -> None:
        if asked["model"] not in self.server.models:
            self._json(404, {"error": {"message": f"The model `{asked['model']}` does not exist."}})
            return
        message = {"role": "assistant", "content": self._says(Path(self.server.models[asked["model"]]))}
        choice = {"index": 0, "finish_reason": "stop", "delta" if asked.get("stream") else "message": message}
        answer = {"object": "chat.completion", "model": asked["model"], "choices": [choice]}
        if not asked.get("stream"):
            self._json(200, answer)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"data: " + json.dumps(answer).encode() + b"\n\ndata: [DONE]\n\n")

    def _says(self, folder: Path) -> str:
        """Which weights it is made of: two adapters never answer alike."""
        digest = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
        return f"weights {digest[:12]}, port {self.server.server_address[1]}"

    def _json(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(words: list[str]) -> None:
    """Serve until SIGTERM."""
    if os.environ.get("STANDIN_ENGINE_DIES"):
        raise SystemExit("ValueError: the stand-in was told to die")
    time.sleep(float(os.environ.get("STANDIN_LOAD_SECONDS", "0")))
    server = Server(words)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()


if __name__ == "__main__":
    main(sys.argv[2:])  # the first word is the script that vLLM's own process runs
