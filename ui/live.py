"""The line between a page and the server: WebSocket `/inner/ws?thread=ID&token=T&page=P`.

Owns the endpoint: who is let in, one reader and one sender per page. What is said is answered by `acts`, what is
new is sent by `hub`, the shapes are made by `view` and `events`.

The handshake is answered with 403 unless Origin is this host and the token is one that was given to a
Streamlit session. `page` names one load of the page. All frames are JSON texts.

Server → page
    view     the whole thread: thread {id, mode, mode_title, human}, voices [{name, colour: [light, dark], shape}],
             thoughts [{id, author, human, text, via, edited, ways, entropy: [mean, max] in nats}] (the last 200),
             earlier (how many there are before those), fork | null, words, draft, status. First, and whenever
             small messages would not do.
    path     {keep, thoughts}: the first `keep` thoughts of the path stay, these follow them
    fork     {fork: {id, thought, attempt, reopened, reason, seen,
             options: [{id, key, text, prefix, voices, p, ahead}]} | null}
    choice   {fork, kind, option, mine, text}: the fork was answered; `text` says by whom, to the others
    words    {voice, text, phase: lead | fork}: what is being spoken, all of it so far; void after path or fork
    status   {title, tip, state: thinking | waiting | resting | paused, detail, remaining, kept, undo, asked, steps,
             here, voices: {name: state}, line}. `undo` names the last decision, "" where there is none; `kept` is
             the kind of a choice that has no effect yet; `here` is false while no orchestrator reports.
    note     {text}: one line for the person
    gone     there is no such thread
    ack      {id, seq, ok, message, again, data}: the answer to one event

Page → server, each {type, id, seq, …}; `id` is random and one event for ever, `seq` counts within a page
    choose   fork, kind: option | edit | own | none, option, text, via, seconds, seen
    say      text, expected_tip          own words where no fork is open
    undo     last                        `undo` of the status it was pressed at
    stop, go
    draft    text                        own words not sent yet; survive a reload
    rename   title
    earlier  before                      → ack.data {thoughts, earlier}
    ways     thought                     → ack.data {ways: [{voices, text}]}

Every event gets exactly one ack. The page keeps what has none and sends it again after a reconnect; the server
answers an id it knows with the first answer, and a choice made twice with the choice that stands. An event for a
fork that is not open is dropped and counted, and the ack says so kindly. `again`: not saved yet (the store was
busy, the disk full), the page keeps it and repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from starlette.websockets import WebSocket, WebSocketDisconnect

from ui.doors import Doors, same_origin
from ui.hub import Client, Hub
from ui.view import Json

PATH = "/inner/ws"


class Line:
    """The endpoint. `hub` is there while the lifespan runs."""

    def __init__(self, doors: Doors, hub: Hub) -> None:
        self._doors = doors
        self._hub = hub

    async def talk(self, socket: WebSocket) -> None:
        """One page, from its handshake to its end."""
        ask = socket.query_params
        if not same_origin(socket.headers) or not self._doors.admits(ask.get("token", "")):
            await socket.close(1008)  # before accept: answered with 403
            return
        await socket.accept()
        client = Client(ask.get("page", "")[:64], ask.get("thread", "")[:64])

        async def send(message: Json) -> None:
            await socket.send_text(json.dumps(message, ensure_ascii=False))

        async def write() -> None:
            with contextlib.suppress(
                WebSocketDisconnect, RuntimeError
            ):  # gone while we wrote: the reader sees it
                await client.pump(send, lambda: self._hub.join(client))

        writer = asyncio.create_task(write(), name="page")
        self._hub.join(client)
        try:
            async for raw in socket.iter_text():
                await self._hub.hear(client, raw)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await self._hub.leave(client)
