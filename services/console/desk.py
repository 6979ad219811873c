"""Where readings are done: on two threads of the console's own, so that the event loop never waits for a disk.

Few and lasting threads, because each one keeps a connection to the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from services.console.ports import ConsolePorts

THREADS = 2
P = ParamSpec("P")
T = TypeVar("T")


class Desk:
    """Carries questions to the ports and answers back."""

    def __init__(self, ports: ConsolePorts) -> None:
        self.ports = ports
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="console")

    async def ask(
        self, read: Callable[Concatenate[ConsolePorts, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`read(ports, …)` on a thread of the desk; raises what it raises."""
        question = partial(read, self.ports, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, question)

    def close(self) -> None:
        """Finish what was asked; nothing can be asked afterwards."""
        self._pool.shutdown()
