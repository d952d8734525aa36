"""Runs the orchestrator: `python -m orchestrator`, settings from the environment (INNER_HOME …).

Owns the wiring: store, bus, feed, engine watch and dialogue in one event loop, and their end. Decides nothing.
Exit codes: 0 asked to stop, else the exit code of the error that one line on stderr tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

from orchestrator import feed
from orchestrator.bus import Hub
from orchestrator.dialogue import Dialogue
from orchestrator.enginewatch import EngineWatch
from orchestrator.errors import InnerError
from orchestrator.settings import Settings, load_settings
from orchestrator.store import NewReply, Store
from voices.role import PromptFileError, load_modes
from voices.wire import Proposal

log = logging.getLogger("orchestrator")

STATUS_SECONDS = 1.0
"""Between two full statuses on the feed: what a page that was just opened waits for at most."""


class Orchestrator:
    """Everything one process needs, from settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._modes = load_modes([settings.prompts_dir])
        self._store = Store.open(settings.store_path)
        self._feed = feed.Publisher(settings.feed)
        self._hub = Hub(settings.hub, settings.run_dir, on_voice=self._on_voice, on_late=self._on_late)
        self._engine = EngineWatch(settings.engine, self._modes.values(), self._status)
        self._dialogue = Dialogue(
            self._store,
            self._hub,
            self._modes,
            self._engine,
            self._feed.publish,
            budget=settings.budget,
            budget_ms=settings.budget_ms,
            seed=settings.seed,
        )

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await self._hub.start()
        self._store.lose_open_requests()
        async with asyncio.TaskGroup() as tasks:
            work = [
                tasks.create_task(self._engine.watch()),
                tasks.create_task(self._beat()),
                tasks.create_task(self._dialogue.run()),
            ]
            await stopping.wait()
            for task in work:
                task.cancel()
        await self._hub.stop()

    def close(self) -> None:
        """Close sockets, threads and the store."""
        self._engine.close()
        self._feed.close()
        self._store.close()

    async def _beat(self) -> None:
        while True:
            self._status()
            await asyncio.sleep(STATUS_SECONDS)

    def _status(self) -> None:
        info = self._engine.info
        state: feed.EngineWord = "ready" if info else "lost" if self._engine.seen else "starting"
        self._feed.publish(
            feed.Status(
                voices={
                    name: feed.VoiceStatus(state=voice.state, detail=voice.detail)
                    for name, voice in self._hub.voices.items()
                },
                engine=feed.EngineStatus(state=state, name=info.name if info else ""),
                threads=self._dialogue.states,
            )
        )

    def _on_voice(self, name: str, state: feed.VoiceWord, detail: str) -> None:
        self._feed.publish(feed.VoiceEvent(voice=name, state=state, detail=detail))
        self._status()

    def _on_late(self, proposal: Proposal) -> None:
        """Words that came after their request was closed: kept as evidence, never an option."""
        self._store.note_replies([NewReply(request_id=proposal.request, outcome="late", text=proposal.text)])


def main() -> int:
    """Exit code."""
    settings = load_settings()
    logging.basicConfig(
        format="%(asctime)s %(name)s %(levelname)s %(message)s", level=settings.log_level.upper()
    )
    try:
        orchestrator = Orchestrator(settings)
    except (InnerError, PromptFileError) as error:
        print(f"orchestrator: {error}", file=sys.stderr)
        return error.exit_code
    with contextlib.closing(orchestrator):
        asyncio.run(orchestrator.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
