"""From a request to the engine that answers it: who asks, for what, and where that is."""

from __future__ import annotations

import asyncio
from typing import Any

from services.gateway.auth import admit, presented
from services.gateway.call import Call
from services.gateway.connection import UpstreamError
from services.gateway.endpoints import MODELS
from services.gateway.errors import ApiError
from services.gateway.peek import peek
from services.gateway.ports import Target, Token
from services.gateway.proxy import Proxy
from services.gateway.reply import Receive, Reply
from services.gateway.request import WhileConnected, conversation, header, read_body
from services.gateway.resolve import resolve, visible
from services.gateway.traffic import Outcome
from services.gateway.translate import no_answer
from services.gateway.upstream import Answer
from services.gateway.voice import Voice
from services.gateway.waking import Waking
from shared.ports.clock import Clock

UNREACHED = frozenset({"refused", "connect_timeout"})


class Front:
    """The endpoints that need a token."""

    def __init__(self, proxy: Proxy, voice: Voice, waking: Waking, clock: Clock, max_body: int) -> None:
        self._directory = waking.directory
        self._proxy = proxy
        self._voice = voice
        self._waking = waking
        self._clock = clock
        self._options = waking.options
        self._max_body = max_body

    async def models(self, call: Call, reply: Reply) -> None:
        """GET /v1/models."""
        token = await self._admit(call)
        found = visible(token, self._directory.snapshot())
        await reply.json(
            {"object": "list", "data": [described(target.route.model_id, target) for target in found]}
        )

    async def model(self, call: Call, reply: Reply) -> None:
        """GET /v1/models/{id}, under any of the names that a request may use."""
        token = await self._admit(call)
        call.model = call.path.removeprefix(MODELS + "/")
        target = await self._resolve(call, token)
        reply.name_model(target)
        await reply.json(described(call.model, target))

    async def engine(self, call: Call, receive: Receive, reply: Reply) -> None:
        """A request for an engine. Raises ApiError, ClientGoneError."""
        token = await self._admit(call)
        call.body = await read_body(call.headers, receive, self._max_body, self._options.body)
        peeked = peek(call.body)
        call.model, call.stream = peeked.model, bool(peeked.stream)
        call.conversation = conversation(call.headers, peeked.user, call.request_id)
        async with WhileConnected(receive, reply):
            await self._pass_on(call, token, reply)

    async def _pass_on(self, call: Call, token: Token, reply: Reply) -> None:
        try:
            target, answer = await self._reach(call, token)
        finally:
            if call.target is not None:
                reply.name_model(call.target)
        await self._proxy.relay(call, target, answer, reply)

    async def _reach(self, call: Call, token: Token) -> tuple[Target, Answer]:
        """An engine that cannot be reached may just have been replaced: look again, once.

        A canary's failure is its own: the request then goes to the live version. However often one looks, a request
        waits once for a model that starts.
        """
        began = asyncio.get_running_loop().time()
        try:
            target = await self._awake(call, token, began)
            return target, await self._proxy.reach(call, target)
        except UpstreamError as error:
            if error.kind not in UNREACHED:
                raise no_answer(error, self._options.retry_after) from None
        if target.role == "canary":
            self._voice.traffic.seen(target, Outcome(failed=True, timed=False), self._clock.now())
            call.conversation = ""
        await self._directory.refresh_now()
        try:
            target = await self._awake(call, token, began)
            return target, await self._proxy.reach(call, target)
        except UpstreamError as error:
            raise no_answer(error, self._options.retry_after) from None

    async def _awake(self, call: Call, token: Token, began: float) -> Target:
        """Where it goes, once that does not sleep any more. began: a moment of the loop. Raises ApiError."""
        target = await self._resolve(call, token)
        while target.coming:
            await self._waking.until_awake(target, began + target.placement.patience)
            target = await self._resolve(call, token)
        return target

    async def _admit(self, call: Call) -> Token:
        """Who asks; a token made a moment ago is looked for once more."""
        digest = presented(header(call.headers, b"authorization"))
        try:
            call.token = admit(digest, self._directory.snapshot().tokens, self._clock.now())
        except ApiError:
            await self._directory.refresh_now()
            call.token = admit(digest, self._directory.snapshot().tokens, self._clock.now())
        return call.token

    async def _resolve(self, call: Call, token: Token) -> Target:
        """Where it goes; a model deployed a moment ago is looked for once more."""
        retry_after, key = self._options.retry_after, call.conversation
        try:
            call.target = resolve(call.model, token, self._directory.snapshot(), key, retry_after)
        except ApiError:
            await self._directory.refresh_now()
            call.target = resolve(call.model, token, self._directory.snapshot(), key, retry_after)
        return call.target


def described(name: str, target: Target) -> dict[str, Any]:
    """One entry of the list of models, under the name it was asked for by."""
    placement = target.placement
    return {
        "id": name,
        "object": "model",
        "created": target.route.created,
        "owned_by": target.route.tenant,
        "version": target.version,
        "manifest_digest": placement.manifest_digest,
        "card_digest": placement.card_digest,
    }
