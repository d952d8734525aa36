"""`inner run`, `think` and `resume` from beginning to end: processes up, a sitting, processes down.

Owns the order of those three and what signals mean meanwhile. Must not know how a process is kept alive, how a
sitting goes on, or how the command line is spelt.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TextIO, TypeVar

from orchestrator import feed
from orchestrator.ensemble import Ensemble, has_display, open_browser
from orchestrator.errors import BadOpening, InnerError, UnknownMode, UnknownThread
from orchestrator.jsonlines import JsonView
from orchestrator.keyboard import Keyboard
from orchestrator.process import Child
from orchestrator.progress import Progress
from orchestrator.session import Plan, Session, Why
from orchestrator.settings import Settings
from orchestrator.store import Arbiter, Store, ThreadRecord
from orchestrator.supervise import Interrupts, until_interrupted
from orchestrator.terminal import TerminalView
from orchestrator.text import clean
from voices.role import ModeSpec

EXIT_KILLED = 130
T = TypeVar("T")


class Opening:
    """A new thread, checked before anything is started."""

    def __init__(
        self, modes: Mapping[str, ModeSpec], mode: str, text: str, plan: Plan, title: str | None
    ) -> None:
        """Raises UnknownMode, BadOpening, TooLong."""
        if mode not in modes:
            raise UnknownMode(mode, tuple(modes))
        if not clean(text, what="The opening thought"):
            raise BadOpening("The opening thought has no words in it.")
        self.mode = modes[mode]
        self._text, self._plan, self._title = text, plan, title

    def open(self, store: Store) -> ThreadRecord:
        """Begin the thread, resting. Its stride is the mode's, whatever this sitting's steps are."""
        return store.begin(
            self.mode.name,
            self._text,
            author=self.mode.human,
            title=self._title,
            remaining=0,
            stride=self.mode.rest_after,
            arbiter=arbiter_of(self._plan),
        )

    def go(self, store: Store, thread: ThreadRecord) -> None:
        """Let it go on by itself."""
        store.set_remaining(thread.id, self._plan.steps or thread.stride)


class Return:
    """An earlier thread, found before anything is started."""

    def __init__(self, settings: Settings, modes: Mapping[str, ModeSpec], name: str, plan: Plan) -> None:
        """Raises StoreError, UnknownThread, UnknownMode."""
        if not settings.store_path.exists():
            raise UnknownThread(name)
        with Store.open(settings.store_path, create=False) as store:
            thread = store.thread(name)
        if thread.mode not in modes:
            raise UnknownMode(thread.mode, tuple(modes))
        self.mode = modes[thread.mode]
        self._id, self._plan = thread.id, plan

    def open(self, store: Store) -> ThreadRecord:
        """The thread, out of the archive, resting where it was."""
        store.archive(self._id, on=False)
        store.set_arbiter(self._id, arbiter_of(self._plan))
        return store.set_remaining(self._id, 0)

    def go(self, store: Store, thread: ThreadRecord) -> None:
        """Let it go on by itself. An open fork waits for a person's answer first."""
        if store.open_fork(thread.id) is None or self._plan.arbiter == "auto":
            store.set_remaining(thread.id, self._plan.steps or thread.stride or self.mode.rest_after)


def arbiter_of(plan: Plan) -> Arbiter:
    """The store's word for who chooses."""
    return "auto" if plan.arbiter == "auto" else "person"


@dataclass(frozen=True)
class Manner:
    """How a sitting is shown, and where answers come from."""

    as_json: bool
    answers: TextIO | None
    """None: nobody can answer."""


async def run(settings: Settings, *, command: str) -> int:
    """Everything, with the page, until a signal. Returns the exit code."""
    progress = Progress()

    def listener(child: Child) -> None:
        if child.state in ("resting", "dead"):
            progress.done(child.name, child.detail)

    ensemble = Ensemble(settings, progress, command=command, listener=listener)

    async def work() -> None:
        await ensemble.start()
        print(f"ready: {ensemble.url}   (Ctrl-C stops everything)", flush=True)
        if settings.browser and has_display():
            open_browser(ensemble.url)
        await ensemble.watch()

    with Interrupts(again=ensemble.kill) as interrupts:
        try:
            await until_interrupted(work(), interrupts)
        finally:
            await ensemble.stop()
    print("stopped; everything is kept, and goes on with: inner run", flush=True)
    return EXIT_KILLED if interrupts.twice else 0


async def sit(
    settings: Settings, opening: Opening | Return, plan: Plan, manner: Manner, *, command: str
) -> int:
    """One sitting at one thread. Returns the exit code; raises InnerError when the processes fail."""
    sitting = _Sitting(settings, opening, plan, manner, command)
    with Interrupts(again=sitting.ensemble.kill) as interrupts:
        try:
            sitting.why = await until_interrupted(sitting.work(), interrupts) or "interrupted"
        except InnerError as error:
            sitting.error = error
            raise
        finally:
            sitting.unhand()
            await sitting.ensemble.stop()
            sitting.finish()
    return EXIT_KILLED if interrupts.twice else 0


class _Sitting:
    """The pieces of a sitting that must be put away in order."""

    def __init__(
        self, settings: Settings, opening: Opening | Return, plan: Plan, manner: Manner, command: str
    ) -> None:
        self.why: Why = "error"
        self.error: InnerError | None = None
        self._settings, self._opening, self._plan, self._manner = settings, opening, plan, manner
        self._progress = Progress(quiet=manner.as_json)
        self.ensemble = Ensemble(
            settings, self._progress, command=command, page=plan.arbiter == "web", listener=self._listen
        )
        answering = plan.arbiter == "terminal"
        self._view: JsonView | TerminalView = (
            JsonView() if manner.as_json else TerminalView(opening.mode, answering=answering)
        )
        self._store: Store | None = None
        self._session: Session | None = None
        self._keyboard = contextlib.ExitStack()

    async def work(self) -> Why:
        """Start everything, sit until there is an end."""
        await self.ensemble.start()
        self._store = store = Store.open(self._settings.store_path)
        async with feed.Subscriber(self._settings.feed) as events:
            thread = self._opening.open(store)
            path = store.path(thread.id)
            url = f"{self.ensemble.url}/thread?thread={thread.id}" if self._plan.arbiter == "web" else None
            self._view.begin(thread, path, self.ensemble.model_name, url)
            keyboard = None
            if self._plan.arbiter == "terminal" and self._manner.answers is not None:
                keyboard = Keyboard(self._manner.answers, self._at_once, by_key=not self._manner.as_json)
                self._keyboard.enter_context(keyboard)
            self._session = Session(
                store,
                thread.id,
                self._view,
                self._plan,
                fallback=self._opening.mode.rest_after,
                keyboard=keyboard,
                events=events,
            )
            self._opening.go(store, thread)  # not before somebody follows
            return await first_of(self._session.run(), self.ensemble.watch())

    def _at_once(self, key: str) -> bool:
        return self._session is not None and self._session.answers_at_once(key)

    def _listen(self, child: Child) -> None:
        if self._session is not None:
            self._view.process(child)
        elif child.state in ("resting", "dead"):
            self._progress.done(child.name, child.detail)

    def unhand(self) -> None:
        """Give the terminal back at once: the processes may take a second to end."""
        self._keyboard.close()
        self._view.close()

    def finish(self) -> None:
        """Count what there was, once nothing can be added any more."""
        ending = None if self._session is None else self._session.ending(self.why)
        if self.error is not None:
            self._view.failed(self.error)
        if ending is not None:
            self._view.end(ending)
        if self._store is not None:
            self._store.close()


async def first_of(work: Awaitable[T], watch: Awaitable[None]) -> T:
    """The result of `work`, unless `watch` raises before."""
    tasks = (asyncio.ensure_future(work), asyncio.ensure_future(watch))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            await tasks[1]
        return await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answers_from(opening_was_read: bool, open_terminal: Callable[[], TextIO | None]) -> TextIO | None:
    """Where a person's answers come from: stdin, or the terminal itself where stdin was the opening."""
    if not opening_was_read:
        return sys.stdin if sys.stdin is not None and not sys.stdin.closed else None
    return open_terminal() if sys.stdout.isatty() else None


def own_terminal() -> TextIO | None:
    """The terminal this process belongs to, if any."""
    try:
        return open("/dev/tty", encoding="utf-8")
    except OSError:
        return None
