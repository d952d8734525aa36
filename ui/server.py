"""One ASGI process: Streamlit's pages, our WebSocket and routes, the hub in its lifespan.

Owns how these are put together and served. Must not know what is on a page or in a message.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import ASGIApp

from orchestrator.errors import PortTaken
from orchestrator.settings import Settings
from orchestrator.store import Store
from ui import house, live
from ui.doors import Doors, Gatekeeper, allowed_hosts, key_at
from ui.hub import Hub
from ui.manners import Manners
from ui.routes import Routes
from ui.theme import streamlit_options
from voices.role import load_modes

SCRIPT = Path(__file__).with_name("app.py")
KEY_FILE = "ui.key"
"""In RUN, which is ours alone: the key of the sessions' tokens."""
GRACE_S = 1
"""Seconds for open pages to be told that the server ends."""
FRAME_LIMIT = 8_000_000
log = logging.getLogger(__name__)


def configure(host: str, port: int) -> None:
    """Give Streamlit its options; a file in somebody's home must not change ours.

    The one private call here: st.App takes options from files or from its own `run`, which binds for itself.
    """
    from streamlit import config

    config.get_config_options(force_reparse=True, options_from_flags=streamlit_options(host, port))


@dataclass(frozen=True)
class Inner:
    """What is ours in the application, with or without Streamlit around it."""

    hub: Hub
    doors: Doors
    routes: list[BaseRoute]
    middleware: list[Middleware]
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]]


def inner(settings: Settings, store: Store, *, host: str = "127.0.0.1") -> Inner:
    """WebSocket, routes, doors and hub over an open store. Raises PromptFileError."""
    modes = load_modes([settings.prompts_dir])
    doors = Doors(key_at(settings.run_dir / KEY_FILE))
    hub = Hub(store, modes, settings.feed)
    home = house.House(settings, store, modes, doors)
    line = live.Line(doors, hub)

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        house.enter(home)
        try:
            async with hub:
                yield
        finally:
            house.leave()

    return Inner(
        hub=hub,
        doors=doors,
        routes=[WebSocketRoute(live.PATH, line.talk), *Routes(home, hub).routes()],
        middleware=[Middleware(Gatekeeper, hosts=allowed_hosts(host))],
        lifespan=lifespan,
    )


def build(settings: Settings, store: Store, *, host: str = "127.0.0.1", port: int = 8501) -> ASGIApp:
    """The whole application: the pages, and what is ours. Raises PromptFileError."""
    configure(host, port)
    import streamlit as st

    from ui.theme import on_script_error

    ours = inner(settings, store, host=host)
    return st.App(
        SCRIPT,
        routes=ours.routes,
        middleware=[*ours.middleware, Middleware(Manners)],
        lifespan=ours.lifespan,
        on_script_error=on_script_error,
    )


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening socket. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortTaken(f"Port {port} on {host} is taken.") from error
        raise
    return listener


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises PortTaken, StoreError, PromptFileError."""
    with contextlib.closing(listen(host, port)) as listener, Store.open(settings.store_path) as store:
        app = build(settings, store, host=host, port=port)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                ws="websockets-sansio",
                ws_max_size=FRAME_LIMIT,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        name = f"[{host}]" if ":" in host else host
        print(f"interface on http://{name}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        server.run(sockets=[listener])
