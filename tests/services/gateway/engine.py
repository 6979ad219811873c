"""An engine for tests: real HTTP, OpenAI's words, and every bad habit an engine can have, asked for by the prompt.

slow        does not answer before `engine.gate` is set
hang        an SSE stream that says one word and then nothing, until the client goes
die         an SSE stream that breaks off between two events       half     … in the middle of one
drop        closes the connection instead of answering             cut      … in the middle of a JSON body
400 422 429 500 401   answers with that status                     noise    something that is no HTTP
missing     as vLLM says it of a model that it was not told of
long N      a chunked JSON answer of N bytes
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

Headers = dict[str, str]


class Engine:
    """All attributes are read from other threads by the tests; only the loop writes them."""

    def __init__(self, name: str, key: str = "", *, keep_alive: bool = True) -> None:
        self.name, self.key, self.keep_alive = name, key, keep_alive
        self.requests: list[tuple[str, Headers, dict[str, Any]]] = []
        self.connections = 0
        self.gone = 0
        self.gate = asyncio.Event()
        self.close_idle_after: float | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self) -> Engine:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def drop_idle(self) -> None:
        """Close all kept connections, as an engine does after its keep-alive time."""
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path, headers, body = await _read(reader)
        self.requests.append((path, headers, body))
        if headers.get("authorization") != f"Bearer {self.key}":
            return self._json(writer, 401, {"detail": "wrong key"})
        if path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
            return self._json(
                writer, 200, {"object": "list", "data": data, "model": body["model"], "usage": _USAGE}
            )
        if path != "/v1/chat/completions":
            return self._json(writer, 404, {"detail": "Not Found"})
        prompt = body["messages"][-1]["content"].split()
        special: Callable[..., Any] | None = getattr(self, f"_say_{prompt[0]}", None)
        if special is not None:
            return bool(await special(reader, writer, body, prompt))
        if prompt[0].isdigit():
            return self._json(
                writer, int(prompt[0]), {"detail": [{"loc": ["messages"], "input": "secret words"}]}
            )
        return await self._answer(writer, body)

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        if not body.get("stream"):
            return self._json(writer, 200, self._completion(body))
        self._head(writer, 200, "text/event-stream; charset=utf-8", "transfer-encoding: chunked")
        for word in ("I ", "am ", self.name):
            self._chunk(writer, self._event(body, word))
            await writer.drain()
            await asyncio.sleep(0.005)
        self._chunk(writer, b"data: [DONE]\r\n\r\n")
        writer.write(b"0\r\n\r\n")
        return self.keep_alive

    async def _say_slow(self, reader, writer, body, prompt) -> bool:
        waits = asyncio.ensure_future(self.gate.wait())
        leaves = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({waits, leaves}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if leaves.done():
            self.gone += 1
            return False
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        return await self._answer(writer, body)

    async def _say_hang(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 200, "text/event-stream", "transfer-encoding: chunked")
        self._chunk(writer, self._event(body, "well"))
        await reader.read(1)
        self.gone += 1
        return False

    async def _say_die(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 200, "text/event-stream", "transfer-encoding: chunked")
        self._chunk(writer, self._event(body, "well"))
        await writer.drain()
        return False

    async def _say_half(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 200, "text/event-stream", "transfer-encoding: chunked")
        self._chunk(writer, self._event(body, "well") + self._event(body, "never seen")[:20])
        await writer.drain()
        return False

    async def _say_drop(self, reader, writer, body, prompt) -> bool:
        return False

    async def _say_noise(self, reader, writer, body, prompt) -> bool:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        return False

    async def _say_cut(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 200, "application/json", "content-length: 1000")
        writer.write(b'{"id": ')
        await writer.drain()
        return False

    async def _say_long(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 200, "application/json", "transfer-encoding: chunked")
        for _ in range(int(prompt[1]) // 10_000):
            self._chunk(writer, b"x" * 10_000)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return self.keep_alive

    async def _say_shaped(self, reader, writer, body, prompt) -> bool:
        return self._json(writer, 400, {"error": {"message": "too long", "code": "context", "extra": 1}})

    async def _say_missing(self, reader, writer, body, prompt) -> bool:
        message = f"The model `{body['model']}` does not exist."
        error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
        return self._json(writer, 404, {"error": error})

    async def _say_older(self, reader, writer, body, prompt) -> bool:
        return self._json(writer, 503, {"object": "error", "message": "loading"})

    async def _say_plain(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 500, "text/plain", "content-length: 4")
        writer.write(b"oops")
        return self.keep_alive

    async def _say_snap(self, reader, writer, body, prompt) -> bool:
        self._head(writer, 200, "application/json", "transfer-encoding: chunked")
        self._chunk(writer, b'{"id": ')
        await writer.drain()
        return False

    async def _say_eof(self, reader, writer, body, prompt) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + b'{"some": "thing"}')
        await writer.drain()
        return False

    async def _say_interim(self, reader, writer, body, prompt) -> bool:
        writer.write(b"HTTP/1.1 100 Continue\r\nx-interim: 1\r\n\r\n")
        await writer.drain()
        return self._json(writer, 200, self._completion(body))

    async def _say_chatty(self, reader, writer, body, prompt) -> bool:
        self._json(writer, 200, self._completion(body))
        return self._json(writer, 200, {"who": "asked"})

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": f"I am {self.name}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        common = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
        return {**common, "choices": [choice], "usage": _USAGE}

    def _event(self, body: dict[str, Any], word: str) -> bytes:
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        return b"data: " + json.dumps({**common, "choices": [choice]}).encode() + b"\r\n\r\n"

    def _json(self, writer: asyncio.StreamWriter, status: int, value: Any) -> bool:
        content = json.dumps(value).encode()
        self._head(writer, status, "application/json", f"content-length: {len(content)}")
        writer.write(content)
        return self.keep_alive

    def _head(self, writer: asyncio.StreamWriter, status: int, kind: str, framing: str) -> None:
        close = "" if self.keep_alive else "connection: close\r\n"
        head = f"HTTP/1.1 {status} X\r\nserver: fake\r\nx-engine: {self.name}\r\ncontent-type: {kind}\r\n{framing}\r\n"
        writer.write(f"{head}{close}\r\n".encode())

    def _chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))


_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


async def _read(reader: asyncio.StreamReader) -> tuple[str, Headers, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return head[0].split()[1], headers, json.loads(body)
