"""The event contract of `--json`: one object a line, each line flushed.

Owns names and fields of the events; fields may be added, none renamed. Must not know how a sitting goes on.

    thread   id, mode, title, model, arbiter, opening {id, text}, url (null without a page)
    thought  id, parent, author, human, text, via, seconds, edited, signals {nll, entropy_mean, entropy_max, n_tokens}
    fork     id, thought, attempt, asked, reason, reopens, options [{key, id, voices, text, p}]
    choice   fork, kind, option (its key, null where none was taken), text, arbiter, via, seconds
    voice    name, state, detail
    note     text
    error    message, hint
    end      thread, why, thoughts, forks, asked_rate, seconds
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from orchestrator import feed
from orchestrator.errors import InnerError
from orchestrator.follow import Chosen, Forked, Happening, Spoken
from orchestrator.keyboard import LineEditor
from orchestrator.process import Child
from orchestrator.session import Ending, Situation
from orchestrator.store import ForkRecord, OptionRecord, ThoughtRecord, ThreadRecord

SIGNALS = ("nll", "entropy_mean", "entropy_max", "n_tokens")

Event = dict[str, Any]


def keyed(fork: ForkRecord) -> list[tuple[int, OptionRecord]]:
    """The options with the keys they are named by: as shown, or counted where nobody was asked."""
    if fork.shown:
        return [(option.key or 0, option) for option in fork.shown]
    return list(enumerate(fork.options, 1))


def thread_event(thread: ThreadRecord, opening: ThoughtRecord, model: str, url: str | None) -> Event:
    return {
        "event": "thread",
        "id": thread.id,
        "mode": thread.mode,
        "title": thread.title,
        "model": model,
        "arbiter": thread.arbiter,
        "opening": {"id": opening.id, "text": opening.text},
        "url": url,
    }


def thought_event(thought: ThoughtRecord) -> Event:
    return {
        "event": "thought",
        "id": thought.id,
        "parent": thought.parent_id,
        "author": thought.author,
        "human": thought.human,
        "text": thought.text,
        "via": thought.via,
        "seconds": round(thought.seconds, 3),
        "edited": thought.edited,
        "signals": {name: thought.signals.get(name) for name in SIGNALS},
    }


def fork_event(fork: ForkRecord) -> Event:
    return {
        "event": "fork",
        "id": fork.id,
        "thought": fork.thought_id,
        "attempt": fork.attempt,
        "asked": fork.asked,
        "reason": fork.reason,
        "reopens": fork.reopens,
        "options": [
            {"key": key, "id": option.id, "voices": list(option.voices), "text": option.text, "p": option.p}
            for key, option in keyed(fork)
        ],
    }


def choice_event(happening: Chosen) -> Event:
    choice = happening.choice
    keys = {option.id: key for key, option in keyed(happening.fork)}
    return {
        "event": "choice",
        "fork": choice.fork_id,
        "kind": choice.kind,
        "option": keys.get(choice.option_id or ""),
        "text": choice.text,
        "arbiter": choice.arbiter,
        "via": choice.via,
        "seconds": round(choice.seconds, 3),
    }


def end_event(ending: Ending) -> Event:
    return {
        "event": "end",
        "thread": ending.thread.id,
        "why": ending.why,
        "thoughts": ending.thoughts,
        "forks": ending.forks,
        "asked_rate": round(ending.asked_rate, 4),
        "seconds": round(ending.seconds, 3),
    }


def error_event(error: InnerError) -> Event:
    return {"event": "error", "message": error.message, "hint": error.hint}


class JsonView:
    """Shows a sitting as events."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._presence: dict[str, str] = {}

    def emit(self, event: Event) -> None:
        """One line, at once."""
        self._stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        self._stream.flush()

    def begin(self, thread: ThreadRecord, path: Sequence[ThoughtRecord], model: str, url: str | None) -> None:
        self.emit(thread_event(thread, path[0], model, url))

    def happened(self, happening: Happening) -> None:
        match happening:
            case Spoken(thought):
                self.emit(thought_event(thought))
            case Forked(fork):
                self.emit(fork_event(fork))
            case Chosen():
                self.emit(choice_event(happening))

    def heard(self, event: feed.Event | feed.Gap) -> None:
        if isinstance(event, feed.VoiceEvent):
            self._voice(event)
        elif isinstance(event, feed.Note):
            self.emit({"event": "note", "text": event.text})

    def _voice(self, event: feed.VoiceEvent) -> None:
        """Who is there and who fell silent; that a voice speaks is told by its thoughts."""
        state = "ready" if event.state == "speaking" else event.state
        if self._presence.get(event.voice) != state:
            self._presence[event.voice] = state
            self.emit({"event": "voice", "name": event.voice, "state": state, "detail": event.detail})

    def process(self, child: Child) -> None:
        """A process is not started again: a voice is silent for good."""
        if child.state == "dead":
            self.emit({"event": "voice", "name": child.name, "state": "dead", "detail": child.detail})

    def situation(self, situation: Situation) -> None:
        """Nothing: an open fork was an event of its own."""

    def typed(self, editor: LineEditor) -> None:
        """Nothing: there is no screen."""

    def say(self, text: str) -> None:
        self.emit({"event": "note", "text": text})

    def help(self) -> None:
        self.say(
            "1-9 choose, e KEY WORDS, x none of these, z undo, g go on, s stop, other words are your own"
        )

    def failed(self, error: InnerError) -> None:
        self.emit(error_event(error))

    def end(self, ending: Ending) -> None:
        self.emit(end_event(ending))

    def close(self) -> None:
        """Nothing to put back."""
