"""Our own HTTP routes beside Streamlit's: begin a thread, keep the list of threads, health.

Owns their checks (origin, token, size) and their words. Must not know how the pages look.

POST /inner/begin    {token, id, mode, opening}                      → 200 {thread} | 4xx {message}
POST /inner/threads  {token, act: rename | archive | restore | resume, thread, title?} → 200 {} | 4xx {message}
GET  /inner/health   → 200 {ok, pages, dropped, feed_age_s}
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from orchestrator.errors import InnerError, StoreError, UnknownMode
from orchestrator.text import scrub
from ui.doors import same_origin
from ui.house import House
from ui.hub import Hub
from voices.wire import Frozen

BODY_LIMIT = 8_000_000
"""Bytes of a request; a pasted megabyte is read, and then refused in words."""
MEMORY = 1024
log = logging.getLogger(__name__)
Answer = dict[str, Any]


class Begin(Frozen):
    id: str = Field(min_length=8, max_length=64)
    mode: str
    opening: str


class Keep(Frozen):
    act: Literal["rename", "archive", "restore", "resume"]
    thread: str
    title: str = ""


class Refused(Exception):
    """A request that is not one of ours; the status says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request of at most BODY_LIMIT bytes. Raises Refused."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            raise Refused(413, "That is far too much at once; the limit of an opening is 20,000 characters.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "not JSON") from error
    if not isinstance(found, dict):
        raise Refused(400, "not an object")
    return {str(key): scrub(value) if isinstance(value, str) else value for key, value in found.items()}


class Routes:
    """The handlers. Every answer is JSON; every refusal has one line for a person."""

    def __init__(self, house: House, hub: Hub) -> None:
        self._house = house
        self._hub = hub
        self._begun: OrderedDict[str, str] = OrderedDict()

    def routes(self) -> list[Route]:
        return [
            Route("/inner/begin", self._guarded(self._begin), methods=["POST"]),
            Route("/inner/threads", self._guarded(self._keep), methods=["POST"]),
            Route("/inner/health", self._health, methods=["GET"]),
        ]

    def _guarded(
        self, act: Callable[[dict[str, Any]], Awaitable[Answer]]
    ) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def handle(request: Request) -> JSONResponse:
            try:
                if not same_origin(request.headers):
                    raise Refused(403, "Only the page itself may ask this.")
                body = await read_body(request)
                if not self._house.doors.admits(str(body.get("token", ""))):
                    raise Refused(
                        403, "The page is older than its server: reload it. Your words are still in the box."
                    )
                return JSONResponse(await act(body))
            except Refused as error:
                return JSONResponse({"message": str(error)}, error.status)
            except ValidationError as error:
                log.warning("bad request: %s", error)
                return JSONResponse({"message": "That request was not understood."}, 422)
            except StoreError as error:
                return JSONResponse({"message": str(error)}, 503)
            except InnerError as error:
                return JSONResponse({"message": str(error)}, 400)

        return handle

    async def _begin(self, body: dict[str, Any]) -> Answer:
        """A thread from its opening; the same id twice is one thread."""
        ask = Begin.model_validate(body)
        if ask.id in self._begun:
            return {"thread": self._begun[ask.id]}
        mode = self._house.modes.get(ask.mode)
        if mode is None:
            raise UnknownMode(ask.mode, sorted(self._house.modes))
        thread = await self._hub.call(self._open, mode.name, ask.opening, mode.human, mode.rest_after)
        self._begun[ask.id] = thread
        while len(self._begun) > MEMORY:
            self._begun.popitem(last=False)
        return {"thread": thread}

    def _open(self, mode: str, opening: str, human: str, stride: int) -> str:
        return self._house.store.begin(mode, opening, author=human, stride=stride).id

    async def _keep(self, body: dict[str, Any]) -> Answer:
        ask, store = Keep.model_validate(body), self._house.store
        if ask.act == "rename":
            await self._hub.call(store.rename, ask.thread, ask.title)
        elif ask.act == "resume":
            await self._hub.call(self._hub.acts.go_on, ask.thread)
        else:
            await self._hub.call(store.archive, ask.thread, ask.act == "archive")
        return {}

    async def _health(self, request: Request) -> JSONResponse:
        hub = self._hub
        return JSONResponse(
            {
                "ok": True,
                "pages": hub.pages,
                "dropped": hub.acts.dropped,
                "feed_age_s": round(hub.feed_age_s, 3),
            }
        )
