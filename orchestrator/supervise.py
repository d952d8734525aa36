"""The supervisor: starts children in stages, keeps them alive, and ends them all, always.

Owns the order of starting, who may die without harm, signals, and the state file others read. Must not know
what the children are (`ensemble` does) or how anything is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.errors import PartFailed
from orchestrator.process import Child, Part, Restarts

GRACE_S = 3.5
"""Seconds children have to end after SIGTERM; then SIGKILL. Everything is gone within 5 s."""
STATE_FILE = "children.json"
T = TypeVar("T")


class Supervisor:
    """Children started stage by stage and kept alive.

    `changed(child)` is called at every change of state. `failed` is done, with a PartFailed, when a child the
    others cannot do without is dead.
    """

    def __init__(
        self,
        logs: Path,
        changed: Callable[[Child], None] = lambda child: None,
        *,
        state_file: Path | None = None,
        restarts: Callable[[], Restarts] = Restarts,
    ) -> None:
        self.children: dict[str, Child] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._logs = logs
        self._changed = changed
        self._state_file = state_file
        self._restarts = restarts

    async def start(self, parts: Sequence[Part], patience: float | None = None) -> None:
        """Start these together; returns when all are ready, or dead where the others can go on without.

        Those that are not essential are waited for at most `patience` seconds after the others are ready.
        Raises PartFailed, with the end of its log, for an essential one.
        """
        stage = [Child(part, self._logs, self._note, restarts=self._restarts()) for part in parts]
        for child in stage:
            self.children[child.name] = child
            child.start()
        await self._settled([child for child in stage if child.part.essential], None)
        await self._settled(stage, patience)

    async def _settled(self, children: Sequence[Child], patience: float | None) -> None:
        together = asyncio.gather(*(child.settled() for child in children))
        try:
            waiting: set[asyncio.Future[Any]] = {together, self.failed}
            await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if self.failed.done():
                self.failed.result()
            if together.done():
                together.result()
        finally:
            together.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await together

    async def watch(self) -> None:
        """Never returns; raises PartFailed when an essential child is dead."""
        await asyncio.shield(self.failed)

    def _note(self, child: Child) -> None:
        if child.state == "dead" and child.part.essential and not self.failed.done():
            self.failed.set_exception(failure(child))
            self.failed.exception()  # seen: nobody need be waiting for it
        self._write_state()
        self._changed(child)

    def _write_state(self) -> None:
        if self._state_file is None:
            return
        state = {
            child.name: {
                "state": child.state,
                "pid": child.pid,
                "detail": child.detail,
                "restarts": child.restarts.count,
                "log": str(child.log),
            }
            for child in self.children.values()
        }
        new = self._state_file.with_suffix(".new")
        new.write_text(json.dumps({"supervisor": os.getpid(), "children": state}), encoding="utf-8")
        new.replace(self._state_file)

    async def stop(self, grace: float = GRACE_S) -> None:
        """SIGTERM to all, SIGKILL after `grace` seconds to those still there; returns when all are gone."""
        for child in self.children.values():
            child.terminate()
        gone = [asyncio.ensure_future(child.gone()) for child in self.children.values()]
        if gone:
            _, late = await asyncio.wait(gone, timeout=grace)
            if late:
                self.kill()
            await asyncio.gather(*gone)
        if self._state_file is not None:
            self._state_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL to all, now."""
        for child in self.children.values():
            child.kill()


def failure(child: Child) -> PartFailed:
    """What a person is told about a child that will not be started again."""
    often = f" for the {_ordinal(child.restarts.count)} time" if child.restarts.count > 1 else ""
    words = child.last_words()
    return PartFailed(
        f"The {child.name} process {child.detail}{often}, and is not started again.",
        f"Its last words, from {child.log}:\n{words}" if words else f"It left no word in {child.log}.",
    )


def _ordinal(n: int) -> str:
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n, 'th') }"


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP: the first asks to stop (`asked`), every further one calls `again`."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, again: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self.twice = False
        self._again = again

    def _heard(self) -> None:
        if self.asked.is_set():
            self.twice = True
            self._again()
        self.asked.set()

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        for number in self.SIGNALS:
            loop.add_signal_handler(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self.SIGNALS:
            loop.remove_signal_handler(number)


async def until_interrupted(work: Awaitable[T], interrupts: Interrupts) -> T | None:
    """The result of `work`; None where a signal came first, and then `work` was cancelled and has ended."""
    task = asyncio.ensure_future(work)
    asked = asyncio.ensure_future(interrupts.asked.wait())
    try:
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for waiting in (task, asked):
            if not waiting.done():
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
