"""A real Chromium on a real interface. Fixtures to reuse with any base URL: `chromium`, `visit`.

`visit(base_url)` opens a page that is watched: at the end of the test it must have asked no other machine for
anything, and its console must be free of errors.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from orchestrator.settings import Settings
from orchestrator.store import Store
from tests.ui.stage_double import Script, StageDouble

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
DESK = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
START_S = 60
WAIT_MS = 20_000
"""How long a page may take on a loaded machine; outcomes are tested, never times."""


def chromium_path() -> str:
    """INNER_CHROMIUM, or the system's. A missing browser is an error, never a skip."""
    found = os.environ.get("INNER_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found or not Path(found).exists():
        pytest.fail(
            "the browser tests need Chromium: install the package `chromium`, or name one in INNER_CHROMIUM",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module. (Not a session: Playwright's loop would stand in the way of asyncio tests.)"""
    path = chromium_path()
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a page did that it should not."""

    host: str
    strangers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()
    """Beginnings of console errors a test provokes on purpose."""

    def request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.strangers.append(request.url)

    def console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(self.allowed or ("\0",)):
            self.errors.append(message.text)

    def broke(self, error: Any) -> None:
        self.errors.append(str(error))

    def check(self) -> None:
        assert not self.strangers, f"the page asked other machines: {self.strangers}"
        assert not self.errors, f"the console has errors: {self.errors}"


class Visit(Protocol):
    def __call__(
        self,
        url: str,
        *,
        phone: bool = False,
        dark: bool = False,
        still: bool = False,
        provokes: tuple[str, ...] = (),
    ) -> Page: ...


@pytest.fixture(scope="module")
def contexts(chromium: Browser) -> Iterator[dict[tuple[bool, bool, bool], BrowserContext]]:
    """Kept for a module: Streamlit's scripts are 10 MB, and a new context would fetch and compile them again.
    What a page remembers is remembered per tab, so pages do not meet."""
    kept: dict[tuple[bool, bool, bool], BrowserContext] = {}
    yield kept
    for context in kept.values():
        context.close()


@pytest.fixture
def visit(chromium: Browser, contexts: dict[tuple[bool, bool, bool], BrowserContext]) -> Iterator[Visit]:
    """Open a watched page: `visit(url, phone=…, dark=…, still=…)`. `still`: prefers reduced motion."""
    visits: list[tuple[Page, Watch]] = []

    def open_page(
        url: str,
        *,
        phone: bool = False,
        dark: bool = False,
        still: bool = False,
        provokes: tuple[str, ...] = (),
    ) -> Page:
        key = (phone, dark, still)
        if key not in contexts:
            contexts[key] = new_context(chromium, *key)
        page = contexts[key].new_page()
        watch = Watch(urlsplit(url).netloc, allowed=provokes)
        visits.append((page, watch))
        page.on("request", watch.request)
        page.on("console", watch.console)
        page.on("pageerror", watch.broke)
        page.goto(url, wait_until="commit")
        return page

    yield open_page
    for page, _ in visits:
        page.close()
    for _, watch in visits:
        watch.check()


def new_context(chromium: Browser, phone: bool, dark: bool, still: bool) -> BrowserContext:
    context = chromium.new_context(
        viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if still else "no-preference",
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=1,
    )
    context.set_default_timeout(WAIT_MS)
    return context


# ---- an interface with a scripted orchestrator ------------------------------------------------------------------


@dataclass
class Interface:
    """`python -m ui` on a home of its own, with a scripted orchestrator beside it."""

    settings: Settings
    port: int
    double: StageDouble
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def thread_url(self, thread: str) -> str:
        return f"{self.url}/?thread={thread}"

    def store(self) -> Store:
        """An own connection to the same store; close it."""
        return Store.open(self.settings.store_path)

    def start(self) -> None:
        self.settings.logs_dir.mkdir(parents=True, exist_ok=True)
        with (self.settings.logs_dir / "ui.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ui", "--port", str(self.port)],
                env={**os.environ, **self.settings.environment()},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the interface ended: {(self.settings.logs_dir / 'ui.log').read_text()}")
            try:
                urllib.request.urlopen(f"{self.url}/inner/health", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        pytest.fail("the interface did not answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(script: Script | None = None) -> Iterator[Interface]:
    """An interface over an empty store, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="inner-ui-", dir="/tmp") as home:
        settings = Settings(home=Path(home))
        settings.make_dirs()
        interface = Interface(settings, free_port(), StageDouble(settings, script or Script()))
        try:
            with interface.double:
                interface.start()
                yield interface
        finally:
            interface.stop()


@pytest.fixture(scope="module")
def interface() -> Iterator[Interface]:
    with running() as one:
        yield one


# ---- what a person does -----------------------------------------------------------------------------------------


def begin(page: Page, opening: str, mode: str = "journal") -> str:
    """Begin a thread on the first page; its id."""
    page.locator(f".begin [data-mode={mode}]").click()
    page.locator(".begin .opening").fill(opening)
    page.locator(".begin .go").click()
    page.locator(".stage[data-ready=true]").wait_for()
    page.wait_for_url("**/?thread=*")
    return page.url.rsplit("thread=", 1)[1]


def on_thread(
    interface: Interface, visit: Visit, opening: str, mode: str = "journal", **how: bool
) -> tuple[Page, str]:
    """A page on a new thread that was begun elsewhere, and the thread's id."""
    with interface.store() as store:
        thread = store.begin(mode, opening, stride=12).id
    return visit(interface.thread_url(thread), **how), thread


def fork(page: Page) -> Any:
    """The open fork, once it is there."""
    section = page.locator(".fork:not(.answered):not([hidden])")
    section.wait_for()
    return section


def calm(page: Page) -> None:
    """Wait until a further answer is not taken for a double press."""
    page.wait_for_timeout(400)
