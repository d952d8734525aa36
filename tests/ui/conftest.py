"""The live part of the interface on a real uvicorn, without Streamlit; a page that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from orchestrator.settings import Settings
from orchestrator.store import ForkRecord, NewFork, NewThought, Store, ThreadRecord
from tests.ui.stage_double import Script
from ui.server import Inner, inner, listen

WAIT_S = 20.0


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="inner-ui-", dir="/tmp") as home:
        made = Settings(home=Path(home))
        made.make_dirs()
        yield made


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store without rows, to be copied: a migration costs more than most tests here."""
    path = tmp_path_factory.mktemp("store") / "inner.db"
    Store.open(path).close()
    return path


@pytest.fixture
def store(settings: Settings, empty_store: Path) -> Iterator[Store]:
    shutil.copy(empty_store, settings.store_path)
    with Store.open(settings.store_path) as opened:
        yield opened


@pytest.fixture
def thread(store: Store) -> ThreadRecord:
    """A thread of three thoughts."""
    made = store.begin("journal", "I said yes and cannot sleep.", stride=3)
    for author, text in (("Echo", "You said yes."), ("Pulse", "It could be decided at ten.")):
        commit(store, made.id, author, text)
    return store.thread(made.id)


def commit(store: Store, thread_id: str, author: str, text: str) -> None:
    """A thought that came by itself."""
    store.commit_thought(thread_id, store.thread(thread_id).tip, NewThought(author=author, text=text), None)


def open_fork(store: Store, thread_id: str, attempt: int = 1) -> ForkRecord:
    """The scripted fork, at the thread's tip."""
    script = Script()
    tip = store.thread(thread_id).tip
    return store.open_new_fork(
        thread_id, tip, NewFork(asked=True, reason=script.reason), script.draw(attempt), None
    )


@pytest.fixture
def fork(store: Store, thread: ThreadRecord) -> ForkRecord:
    return open_fork(store, thread.id)


class Server:
    """A running server: where it is, and what is inside."""

    def __init__(self, port: int, ours: Inner) -> None:
        self.port = port
        self.inner = ours
        self.url = f"http://127.0.0.1:{port}"

    def token(self, session: str = "test") -> str:
        return self.inner.doors.token(session)

    @asynccontextmanager
    async def page(self, thread: str, name: str = "") -> AsyncIterator[Page]:
        """One page on a thread, past its first view."""
        name = name or uuid.uuid4().hex
        address = f"ws://127.0.0.1:{self.port}/inner/ws?thread={thread}&token={self.token()}&page={name}"
        async with connect(address, origin=self.url, max_size=None) as socket:
            page = Page(socket)
            await page.until("view")
            yield page


class Page:
    """What a page hears, and what it says."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self.seq = 0

    @property
    def view(self) -> dict[str, Any]:
        return next(one for one in reversed(self.heard) if one["type"] == "view")

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        self.heard.append(message)
        return message

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of this type with these fields; what comes before is kept in `heard`."""
        while True:
            message = await self.next()
            if message["type"] == kind and all(message.get(key) == value for key, value in fields.items()):
                return message

    async def say(self, type_: str, /, event_id: str = "", **fields: Any) -> dict[str, Any]:
        """Send an event; its acknowledgement."""
        self.seq += 1
        event = {"type": type_, "id": event_id or uuid.uuid4().hex, "seq": self.seq, **fields}
        await self.socket.send(json.dumps(event))
        return await self.until("ack", id=event["id"])

    async def choose(self, fork: ForkRecord, key: int | None = None, **fields: Any) -> dict[str, Any]:
        option = next((one.id for one in fork.options if one.key == key), None)
        kind = "option" if option else "none"
        return await self.say(
            "choose", **{"fork": fork.id, "kind": kind, "option": option, "via": "key", **fields}
        )


@pytest.fixture
async def server(settings: Settings, store: Store) -> AsyncIterator[Server]:
    ours = inner(settings, store)
    app = Starlette(routes=ours.routes, middleware=ours.middleware, lifespan=ours.lifespan)
    with closing(listen("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(running.serve(sockets=[listener]))
        while not running.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.01)
        yield Server(listener.getsockname()[1], ours)
        running.should_exit = True
        await task
