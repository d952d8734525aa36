"""Whether the engine is there, what it is, and how long texts are in its tokens.

Owns one connection to the engine and the thread that waits on it, so that the event loop never does. Knows
nothing of generations: the voices ask for those themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from orchestrator.store import ThoughtRecord
from voices.engine.client import EngineClient, EngineError, EngineLost
from voices.engine.protocol import Generate, Info
from voices.role import ModeSpec, build_prompt, preamble
from voices.wire import Turn

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_SECONDS = 2.0
"""Pause between two looks while all is well; a lost engine is looked for at once."""
PATIENCE = 4.0
"""Seconds without an answer after which the engine counts as lost. A decode takes 0.5 s at most."""
FIRST_MODE = "journal"
"""Warmed first: what most people begin with."""
MARGIN = 48
"""Tokens kept free beside a voice's own: template text around messages, forced words at a fork."""


class EngineWatch:
    """Keeps `info` fresh. `changed` is called at every change between ready and lost.

    Whenever an engine appears it is given what every prompt of a mode begins with, so that the first words after
    a person's opening do not wait for the preamble's prefill.
    """

    def __init__(self, endpoint: str, modes: Iterable[ModeSpec], changed: Callable[[], None]) -> None:
        self._client = EngineClient(endpoint, patience=PATIENCE)
        self._warmer = EngineClient(endpoint, patience=PATIENCE)
        self._modes = sorted(modes, key=lambda mode: mode.name != FIRST_MODE)
        self._changed = changed
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._lengths: dict[tuple[str, str], int] = {}
        self._there = asyncio.Event()
        self.info: Info | None = None
        self.seen = False
        """Whether the engine was ever there: tells starting from lost."""

    async def watch(self) -> None:
        """Look at the engine for ever."""
        while True:
            before = self.info
            try:
                self.info = await self._run(self._client.info)
                self.seen = True
                self._there.set()
            except EngineError as error:
                log.debug("engine: %s", error)
                self.info = None
                self._there.clear()
            if (self.info is None) != (before is None):
                self._changed()
                if self.info is not None:
                    self._warm(self.info)
            await asyncio.sleep(LOOK_SECONDS if self.info else 0.2)

    async def ready(self) -> Info:
        """What the engine is, waiting until it is there."""
        while self.info is None:
            await self._there.wait()
        return self.info

    async def room(self, mode: ModeSpec, info: Info) -> int:
        """Tokens the thread may take in the prompt: the window without the preamble and the next thought."""
        longest = max(role.max_tokens for role in mode.voices)
        return info.n_ctx - await self._length(info.model, preamble(mode)) - 2 * longest - MARGIN

    async def lengths(self, thoughts: Sequence[ThoughtRecord], info: Info) -> dict[str, int]:
        """Tokens of each thought, by id: known for what this model said itself, counted once for the rest."""
        return {
            t.id: len(t.token_ids)
            if t.token_ids and t.model == info.model
            else await self._length(info.model, t.text)
            for t in thoughts
        }

    async def _length(self, model: str, text: str) -> int:
        key = (model, text)
        if key not in self._lengths:
            try:
                self._lengths[key] = len(await self._run(lambda: self._client.tokenize(text)))
            except EngineLost:
                return len(text.encode()) // 3  # the step will wait for the engine anyway
        return self._lengths[key]

    def _warm(self, info: Info) -> None:
        """Ask for one token of every mode, after everything else; the answers are of no interest."""
        for mode in self._modes:
            prompt = build_prompt(
                mode, mode.voices[0].name, (Turn(author="", text="…", human=True),), info.model
            )
            self._warmer.send(Generate(request=f"warm {mode.name}", prompt=prompt, max_tokens=1, priority=9))
        while self._warmer.receive(0.0) is not None:
            continue  # what an earlier engine had answered

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """End the thread and close the connection."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()
        self._warmer.close()
