"""The gateway's own dials; the defaults fit an engine on the same machine."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds.

    body: between two pieces of a request's body.
    connect: to reach an engine. first_byte: until it starts to answer. idle: between two chunks.
    keep_alive: how long an idle connection is kept, below the 5 s after which the engines close theirs.
    idle_connections: kept per engine. whole_body: answers up to so many bytes are passed on in one piece.
    waiting: so many requests at most wait for models that start, waiting_each of them for those of one tenant; the
    others are told to come again.
    """

    body: float = 30.0
    connect: float = 2.0
    first_byte: float = 300.0
    idle: float = 120.0
    keep_alive: float = 4.0
    idle_connections: int = 64
    whole_body: int = 1024 * 1024
    retry_after: int = 1
    waiting: int = 256
    waiting_each: int = 64
