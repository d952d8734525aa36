"""Rooms: for each thread that is looked at, one scene, kept up to date and sent to every page that shows it.

Owns the fan-out: what is new in the store and what the feed says becomes small messages in a bounded queue per
page. Must not know Streamlit, and never asks the feed for the truth: a gap in it means reading the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from orchestrator.errors import InnerError, UnknownThread
from orchestrator.feed import (
    EngineStatus,
    Event,
    Gap,
    Note,
    Status,
    StoreChanged,
    Subscriber,
    VoiceEvent,
    VoiceStatus,
    Words,
)
from orchestrator.store import Store
from ui import view
from ui.acts import Acts
from ui.events import Ack, BadEvent, PageEvent, read_event
from ui.scene import Change, Scene, advance, read_scene
from ui.view import Json
from voices.role import ModeSpec

QUEUE = 256
"""Messages kept for a slow page; one that falls further behind gets a fresh view instead."""
POLL_S = 0.015
IDLE_POLL_S = 0.05
AWAY_S = 3.0
"""Without a sign of the orchestrator for so long, the page says that it is away. It sends a status a second."""
TICK_S = 0.25
RETRY_S = 0.5

T = TypeVar("T")
log = logging.getLogger(__name__)


class Client:
    """One page: its outbox. `pump` is the only sender on its socket."""

    def __init__(self, page: str, thread: str) -> None:
        self.page = page
        self.thread = thread
        self.behind = False
        self._queue: deque[Json] = deque()
        self._words: dict[str, Json] = {}
        self._wake = asyncio.Event()

    def send(self, message: Json) -> None:
        """Queue a message. Live words only replace each other; they are void once the thread changed."""
        if message["type"] == "words":
            self._words[message["voice"]] = message
        else:
            if message["type"] in ("view", "path", "fork"):
                self._words.clear()
            self._queue.append(message)
        if len(self._queue) > QUEUE:
            self._queue.clear()
            self._words.clear()
            self.behind = True
        self._wake.set()

    async def pump(self, send: Callable[[Json], Awaitable[None]], catch_up: Callable[[], None]) -> None:
        """Send for ever; returns when the socket is gone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await send(self._queue.popleft())
            words, self._words = self._words, {}
            for message in words.values():
                await send(message)
            if self.behind:
                self.behind = False
                catch_up()


class Room:
    """A thread and the pages that show it. One task reads, so that all pages see one order of things."""

    def __init__(self, hub: Hub, thread: str) -> None:
        self.thread = thread
        self.scene: Scene | None = None
        self.clients: set[Client] = set()
        self.words: dict[str, Json] = {}
        self._hub = hub
        self._new: list[Client] = []
        self._status: Json = {}
        self._dirty = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"room {thread}")

    def join(self, client: Client) -> None:
        self._new.append(client)
        self._dirty.set()

    def leave(self, client: Client) -> bool:
        """True where nobody is left."""
        self.clients.discard(client)
        self._new = [one for one in self._new if one is not client]
        return not self.clients and not self._new

    def touch(self) -> None:
        """Something about the thread may have changed."""
        self._dirty.set()

    def broadcast(self, message: Json) -> None:
        for client in self.clients:
            client.send(message)

    def speak(self, words: Words) -> None:
        message = {"type": "words", "voice": words.voice, "text": words.text, "phase": words.phase}
        self.words[words.voice] = message
        self.broadcast(message)

    def tell_status(self) -> None:
        """Send the edges again where they differ from what was sent last."""
        if self.scene is None:
            return
        status = view.status(self.scene, self._hub.status, here=self._hub.here)
        if status["state"] == "resting":  # stopped in the middle: those words are not said
            self.words.clear()
        if status != self._status:
            self._status = status
            self.broadcast(status)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._refresh()
            except UnknownThread:
                for client in (*self.clients, *self._new):
                    client.send({"type": "gone"})
            except InnerError as error:
                log.warning("thread %s: %s", self.thread, error)
                self.broadcast({"type": "note", "text": str(error)})
                await asyncio.sleep(RETRY_S)
                self._dirty.set()
            except Exception:
                log.exception("thread %s could not be shown", self.thread)
                self.scene = None  # whatever was wrong with it: read it anew
                await asyncio.sleep(RETRY_S)
                self._dirty.set()

    async def _refresh(self) -> None:
        hub, old = self._hub, self.scene
        if old is None:
            self.scene = await hub.call(read_scene, hub.store, self.thread)
        else:
            new, change = await hub.call(advance, hub.store, old)
            self.scene = new
            self.tell_status()
            if change.whole:
                self._new = [*self._new, *self.clients]
                self.clients.clear()
            await self._tell_changes(old, new, change)
        await self._welcome()

    async def _tell_changes(self, old: Scene, new: Scene, change: Change) -> None:
        before, after = old.fork and old.fork.id, new.fork and new.fork.id
        if before and before != after:
            await self._tell_fork_closed(before)
        if change.thoughts or change.keep < old.tail[-1].depth:
            self.words.clear()
            self.broadcast(view.path(change))
        if before != after:
            self.words.clear()
            self.broadcast({"type": "fork", "fork": view.fork(new.fork)})

    async def _tell_fork_closed(self, fork_id: str) -> None:
        """Somebody answered the fork that was open, or it was left: who and what, for every page."""
        fork = await self._hub.call(self._hub.store.fork, fork_id)
        if (choice := fork.choice) is None:
            return
        winner = self._hub.acts.winner(fork.id)
        text = view.told(fork, choice)
        for client in self.clients:
            mine = client.page == winner
            message = {"type": "choice", "fork": fork.id, "kind": choice.kind, "option": choice.option_id}
            client.send({**message, "mine": mine, "text": "" if mine else text})

    async def _welcome(self) -> None:
        new, self._new = self._new, []
        if not new or self.scene is None:
            return
        draft = await self._hub.call(self._hub.store.draft, self.thread) or ""
        hub, scene = self._hub, self.scene
        mode = hub.modes.get(scene.record.mode)
        words = tuple(self.words.values())
        message = view.view(scene, mode, hub.status, here=hub.here, draft=draft, words=words)
        for client in new:
            client.send(message)
            self.clients.add(client)


class Hub:
    """All rooms, the feed, the watch on the store. Use as an async context manager, once a process."""

    def __init__(
        self,
        store: Store,
        modes: Mapping[str, ModeSpec],
        feed: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.modes = modes
        self.acts = Acts(store, modes)
        self.status: Status | None = None
        self.here = True
        self._feed = feed
        self._clock = clock
        self._seen = clock()
        self._rooms: dict[str, Room] = {}
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="store")
        self._stop = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Hub:
        loop = asyncio.get_running_loop()
        self._subscriber = Subscriber(self._feed)
        self._watch = threading.Thread(target=self._watch_store, args=(loop,), name="store watch")
        self._watch.start()
        self._tasks = [loop.create_task(self._listen()), loop.create_task(self._tick())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for room in list(self._rooms.values()):
            await room.close()
        await self._subscriber.close()
        await asyncio.to_thread(self._watch.join)
        await asyncio.to_thread(self._pool.shutdown)

    @property
    def pages(self) -> int:
        return sum(len(room.clients) for room in self._rooms.values())

    @property
    def feed_age_s(self) -> float:
        """Seconds since the orchestrator was last heard of."""
        return self._clock() - self._seen

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """A call of the store, in a thread of the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args))

    def join(self, client: Client) -> None:
        if client.thread not in self._rooms:
            self._rooms[client.thread] = Room(self, client.thread)
        self._rooms[client.thread].join(client)

    async def leave(self, client: Client) -> None:
        room = self._rooms.get(client.thread)
        if room is not None and room.leave(client):
            del self._rooms[client.thread]
            await room.close()

    async def hear(self, client: Client, raw: str) -> None:
        """One event of a page: do it, acknowledge it, and let every page see what came of it."""
        try:
            event = read_event(raw)
        except BadEvent as error:
            body = error.body
            seq = body.get("seq")
            ack = Ack(
                id=str(body.get("id", "")),
                seq=seq if isinstance(seq, int) else 0,
                ok=False,
                message=str(error),
            )
            client.send(ack.model_dump())
            return
        client.send((await self._answer(client, event)).model_dump())
        if (room := self._rooms.get(client.thread)) is not None and event.type not in (
            "draft",
            "earlier",
            "ways",
        ):
            room.touch()

    async def _answer(self, client: Client, event: PageEvent) -> Ack:
        room = self._rooms.get(client.thread)
        try:
            scene = (
                room.scene if room and room.scene else await self.call(read_scene, self.store, client.thread)
            )
        except InnerError as error:
            return Ack(id=event.id, seq=event.seq, ok=False, message=str(error), again=error.retryable)
        return await self.call(self.acts.answer, event, client.page, scene)

    # ---- what happens elsewhere -------------------------------------------------------------------------------

    def _watch_store(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread: an own connection asks for the change token; 4 µs where nothing is locked."""
        last = None
        while not self._stop.wait(POLL_S if self._rooms else IDLE_POLL_S):
            try:
                version = self.store.data_version()
            except InnerError as error:
                log.debug("data_version: %s", error)
                continue
            if version != last:
                last = version
                with contextlib.suppress(RuntimeError):  # the loop is closing: nobody is left to be told
                    loop.call_soon_threadsafe(self._touch_all)

    def _touch_all(self) -> None:
        for room in self._rooms.values():
            room.touch()

    async def _listen(self) -> None:
        async for event in self._subscriber:
            self.on_feed(event)

    def on_feed(self, event: Event | Gap) -> None:
        """Show what the feed says. Nothing here decides anything."""
        if isinstance(event, Gap):
            self._touch_all()
            return
        self._seen = self._clock()
        if isinstance(event, Status):
            self.status = event
            self._tell_all()
        elif isinstance(event, VoiceEvent):
            self._hear_voice(event)
        elif (room := self._rooms.get(event.thread)) is None:
            return
        elif isinstance(event, Words):
            room.speak(event)
        elif isinstance(event, Note):
            room.broadcast({"type": "note", "text": event.text})
        elif isinstance(event, StoreChanged):
            room.touch()

    def _hear_voice(self, event: VoiceEvent) -> None:
        status = self.status or Status(engine=EngineStatus(state="ready"))
        voices = {**status.voices, event.voice: VoiceStatus(state=event.state, detail=event.detail)}
        self.status = status.model_copy(update={"voices": voices})
        self._tell_all()

    def _tell_all(self) -> None:
        self.here = self._clock() - self._seen < AWAY_S
        for room in self._rooms.values():
            room.tell_status()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self.here != (self._clock() - self._seen < AWAY_S):
                self._tell_all()
