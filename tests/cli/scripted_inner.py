"""`inner` with a scripted dialogue instead of processes: the real command line, store, feed and screen.

Run as `python -m tests.cli.scripted_inner ARGUMENTS…`.
"""

from __future__ import annotations

import asyncio

from orchestrator import cli, feed, sittings
from orchestrator.errors import PartFailed
from orchestrator.process import Lock
from orchestrator.settings import Settings
from orchestrator.store import Store
from tests.cli.script import ASKED, Dialogue, Part, Say

SCRIPT = [
    Say("Echo", "You said yes before the day had ended."),
    ASKED,
    Say("Shift", "From the outside it looks like courage."),
    Part(((("Pulse",), "Write to them tomorrow.", 0.5), (("Doubt",), "Write to whom?", 0.5))),
    *(Say("Echo", f"Thought {n}.") for n in range(50)),
]


class ScriptedEnsemble:
    """Stands where Ensemble does."""

    failing = False

    def __init__(self, settings: Settings, *_: object, command: str, **__: object) -> None:
        self.settings, self._command = settings, command
        self.model_name, self.url = "scripted", "http://127.0.0.1:8501"
        self._ready = False

    async def start(self) -> None:
        self.settings.make_dirs()
        self._lock = Lock(self.settings.lock_path)
        self._lock.acquire(self._command)
        self._store = Store.open(self.settings.store_path)
        self._feed = feed.Publisher(self.settings.feed)
        self._dialogue = Dialogue(self._store, SCRIPT)
        await self._dialogue.__aenter__()
        self._ready = True

    async def watch(self) -> None:
        if self.failing:
            raise PartFailed("The engine process is gone.", "Its last words: none.")
        while True:
            self._feed.publish(feed.VoiceEvent(voice="Doubt", state="gone", detail="killed by SIGKILL"))
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        if self._ready:
            await self._dialogue.__aexit__()
            self._feed.close()
            self._store.close()
            self._lock.release()

    def kill(self) -> None:
        """There is nobody to kill."""


if __name__ == "__main__":
    sittings.Ensemble = ScriptedEnsemble  # type: ignore[assignment,misc]
    cli.main()
