"""A transport without a socket: to a fake cluster of this very program, for the simulator and quick tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.kubernetes.api import Call, Object, Response, Unreached
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.objects import copied
from shared.kubernetes.fake.server import LOST, Answer, Request
from shared.kubernetes.fake.watching import Feed, Said


class MemoryTransport:
    """A watch tells what has happened so far, and ends: whoever steps the cluster watches again.

    wait: for so many seconds it waits until something happens; 0 where one thread does everything.
    """

    def __init__(self, cluster: FakeCluster, wait: float = 0) -> None:
        self._cluster = cluster
        self._wait = wait

    def send(self, call: Call) -> Response:
        """See `Transport.send`."""
        answer = self._answer(call)
        return Response(code=answer.code, body=copied(answer.body), after=answer.retry_after or None)

    def stream(self, call: Call) -> Iterator[Response | Object]:
        """See `Transport.stream`."""
        answer = self._answer(call)
        if answer.feed is None:
            yield Response(code=answer.code, body=copied(answer.body))
            return
        try:
            said = self._heard(answer.feed)
        except Failure as failure:
            said = [("ERROR", failure.status())]
        for kind, obj in said[:1] if answer.feed.dropped else said:
            yield {"type": kind, "object": copied(obj)}

    def _heard(self, feed: Feed) -> Sequence[Said]:
        with self._cluster.moved:
            said = feed.take()
            if not said and self._wait:
                self._cluster.moved.wait(self._wait)
                said = feed.take()
            return [*said, *feed.farewell()]

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, call: Call) -> Answer:
        request = Request(
            method=call.method,
            path=call.path,
            query=call.query,
            body=copied(call.body),
            content_type=call.content_type,
            agent="kuznia",
        )
        with self._cluster.moved:
            answer = self._cluster.server.handle(request)
        if answer.code <= LOST:
            raise Unreached("injected: the answer never came", sent=answer.code == LOST)
        return answer
