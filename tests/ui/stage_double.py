"""A scripted orchestrator: applies choices, says scripted thoughts, opens scripted forks, publishes the feed.

Owns a thread of its own. What comes next depends only on the depth of the thread's tip, so that an undo leads to
the same place again. `python tests/ui/stage_double.py` runs it on INNER_HOME, to look at the page by hand.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.errors import StoreError, TipMoved
from orchestrator.feed import (
    EngineStatus,
    Note,
    Publisher,
    Status,
    StoreChanged,
    ThreadStatus,
    VoiceEvent,
    VoiceStatus,
    Words,
)
from orchestrator.settings import Settings
from orchestrator.store import NewFork, NewOption, NewThought, Store, ThreadRecord

CHOIR = ("Echo", "Pulse", "Doubt", "Shift")
LINES = (
    "You said yes before the day had ended, and the night is still asking.",
    "One thing could be decided tomorrow at ten, and only that one.",
    "Was it the project you said yes to, or the person who asked?",
    "Seen from the far bank, the river does not look like work at all.",
    "The body knew before the calendar did; it kept the lamp on.",
)
PREFIX = "Was it the project you said yes to, or the person who asked"
OPTIONS = (
    (
        (", because no felt like a door closing?", ("Doubt", "Echo"), 0.41),
        (" — and what would the sleeper in you have answered?", ("Shift",), 0.33),
        (". Either way it begins on Monday.", ("Pulse",), 0.26),
    ),
    (
        (" twice, and only the second time out loud?", ("Doubt",), 0.52),
        (" with a smile that already knew?", ("Shift", "Echo"), 0.30),
    ),
)
REASON = "Two meanings at “asked”, 0.9 nats: Doubt and Shift part from Pulse."


@dataclass
class Script:
    """What is said at which depth of the tip (1: only the opening is there)."""

    fork_every: int = 4
    """A fork instead of a thought after so many."""
    lines: tuple[str, ...] = LINES
    prefix: str = PREFIX
    options: tuple[tuple[tuple[str, tuple[str, ...], float], ...], ...] = OPTIONS
    reason: str = REASON
    word_s: float = 0.0
    """Pause between the words of a thought; 0: no live words."""

    def forks(self, depth: int) -> bool:
        return depth % self.fork_every == 0

    def line(self, depth: int) -> tuple[str, str]:
        return CHOIR[(depth - 1) % len(CHOIR)], self.lines[(depth - 1) % len(self.lines)]

    def draw(self, attempt: int) -> list[NewOption]:
        drawn = self.options[(attempt - 1) % len(self.options)]
        return [
            NewOption(
                text=self.prefix + rest,
                voices=voices,
                key=key,
                p=p,
                prefix_text=self.prefix,
                source="voice",
                rank=key - 1,
                look_ahead=f"… {rest.split()[-1]} You have closed some before, and slept."
                if key == 1
                else None,
            )
            for key, (rest, voices, p) in enumerate(drawn, 1)
        ]


@dataclass
class StageDouble:
    """Start it, stop it; `settings` says which store and feed."""

    settings: Settings
    script: Script = field(default_factory=Script)
    silent: dict[str, str] = field(default_factory=dict)
    """Voices that are not well: name → state."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.publish: Callable[[object], object] = lambda event: None

    def start(self) -> StageDouble:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="stage double")
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> StageDouble:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fall_silent(self, voice: str) -> None:
        self.silent[voice] = "silent"
        self.publish(VoiceEvent(voice=voice, state="silent"))

    def note(self, thread: str, text: str) -> None:
        self.publish(Note(thread=thread, text=text))

    def _run(self) -> None:
        with Store.open(self.settings.store_path) as store, Publisher(self.settings.feed) as feed:
            self.publish = feed.publish  # type: ignore[assignment]
            beat = threading.Thread(target=self._beat, args=(store, feed), name="stage double beat")
            beat.start()
            try:
                self._loop(store, feed)
            finally:
                beat.join()
                self.publish = lambda event: None

    def _loop(self, store: Store, feed: Publisher) -> None:
        version = -1
        while not self._stop.is_set():
            try:
                if store.data_version() == version:
                    self._stop.wait(0.004)
                    continue
                version = store.data_version()
                while self._step(store, feed) and not self._stop.is_set():
                    pass
            except StoreError:
                self._stop.wait(0.02)
            feed.publish(self._status(store))

    def _beat(self, store: Store, feed: Publisher) -> None:
        while not self._stop.wait(0.5):
            feed.publish(self._status(store))

    def _status(self, store: Store) -> Status:
        threads = {
            one.id: ThreadStatus(
                state="waiting" if one.open_fork else "thinking" if one.remaining else "resting"
            )
            for one in store.threads()
        }
        voices = {name: VoiceStatus(state=self.silent.get(name, "ready")) for name in CHOIR}
        return Status(voices=voices, engine=EngineStatus(state="ready", name="scripted"), threads=threads)

    def _step(self, store: Store, feed: Publisher) -> bool:
        """One thing that can be done now; False where there is none."""
        for pending in store.pending():
            if pending.choice.kind == "none":
                self._open_fork(store, feed, pending.thread, pending.fork.attempt + 1)
            else:
                store.apply(pending.choice.id)
                feed.publish(StoreChanged(thread=pending.thread.id))
            return True
        for thread in store.runnable():
            with contextlib.suppress(TipMoved):  # somebody spoke meanwhile: look again
                self._go_on(store, feed, thread)
            return True
        return False

    def _go_on(self, store: Store, feed: Publisher, thread: ThreadRecord) -> None:
        depth = store.thought(thread.tip).depth
        if self.script.forks(depth):
            self._open_fork(store, feed, thread, 1)
            return
        author, text = self.script.line(depth)
        self._speak(feed, thread.id, author, text, "lead")
        signals = {"nll": 20.5, "entropy_mean": 1.9, "entropy_max": 4.2, "n_tokens": 14}
        store.commit_thought(
            thread.id, thread.tip, NewThought(author=author, text=text, signals=signals), None
        )
        feed.publish(StoreChanged(thread=thread.id))

    def _open_fork(self, store: Store, feed: Publisher, thread: ThreadRecord, attempt: int) -> None:
        options = self.script.draw(attempt)
        if self.script.word_s:
            for option in options[1:]:
                self._speak(feed, thread.id, option.voices[0], option.text, "fork")
        fork = NewFork(asked=True, reason=self.script.reason, reading={}, fork_point={})
        with contextlib.suppress(TipMoved):
            store.open_new_fork(thread.id, thread.tip, fork, options, None)
        feed.publish(StoreChanged(thread=thread.id))

    def _speak(self, feed: Publisher, thread: str, voice: str, text: str, phase: str) -> None:
        if not self.script.word_s:
            return
        said = ""
        for word in text.split():
            said = f"{said} {word}".strip()
            feed.publish(
                Words.model_validate({"thread": thread, "voice": voice, "text": said, "phase": phase})
            )
            if self._stop.wait(self.script.word_s):
                return


def main() -> None:
    from orchestrator.settings import load_settings

    settings = load_settings()
    settings.make_dirs()
    with StageDouble(settings, Script(word_s=0.06)), contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


if __name__ == "__main__":
    main()
