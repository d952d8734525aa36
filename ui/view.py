"""Scenes as JSON for the page: what is sent, in which words.

Owns the shapes of the server's messages (specified at the head of live.py). Must not know sockets, and reads
nothing: what it needs is handed to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.feed import Status
from orchestrator.store import ChoiceRecord, ForkRecord, OptionRecord, ThoughtRecord
from ui.scene import Change, Scene
from voices.role import ModeSpec

Json = dict[str, Any]
NEUTRAL = ("#5f5b57", "#b8b2aa")
"""Colour of a voice that no prompt file knows any more; the default of voices/role.py."""
SILENT = {"silent": "{voice} fell silent, back in a moment", "gone": "{voice} is gone; the others go on"}
REASONS = {
    "starting": "the engine is starting",
    "lost": "the engine is restarting; what is on the page stays",
}


def voices(mode: ModeSpec | None) -> list[Json]:
    """The choir of a thread, in its order."""
    return [
        {"name": role.name, "colour": list(role.colour), "shape": role.shape}
        for role in (mode.voices if mode else ())
    ]


def thought(record: ThoughtRecord) -> Json:
    signals = record.signals
    return {
        "id": record.id,
        "author": record.author,
        "human": record.human,
        "text": record.text,
        "via": record.via,
        "edited": record.edited,
        "ways": record.choice_id is not None,
        "entropy": [
            round(float(signals[key]), 2) for key in ("entropy_mean", "entropy_max") if key in signals
        ],
    }


def option(record: OptionRecord) -> Json:
    return {
        "id": record.id,
        "key": record.key,
        "text": record.text,
        "voices": list(record.voices),
        "p": round(record.p, 3),
        "prefix": record.prefix_text,
        "ahead": record.look_ahead or "",
    }


def fork(record: ForkRecord | None) -> Json | None:
    if record is None:
        return None
    return {
        "id": record.id,
        "thought": record.thought_id,
        "attempt": record.attempt,
        "reopened": record.reopens is not None,
        "reason": record.reason,
        "options": [option(one) for one in record.shown],
        "seen": record.seen,
    }


def status(scene: Scene, feed: Status | None, *, here: bool) -> Json:
    """The edges of the page: who speaks, how far it may go on, what was asked."""
    record = scene.record
    said = feed.threads.get(record.id) if feed and here else None
    if scene.fork is not None:
        state = "waiting"
    elif said is not None and said.state == "paused":
        state = "paused"
    else:  # from the store alone: what the feed said last may be older than a "stop"
        state = "thinking" if record.remaining > 0 or scene.kept else "resting"
    spoken = {name: one.state for name, one in feed.voices.items()} if feed and here else {}
    return {
        "type": "status",
        "title": record.title,
        "tip": record.tip,
        "state": state,
        "detail": said.detail if said else "",
        "remaining": record.remaining,
        "kept": scene.kept.choice.kind if scene.kept else "",
        "undo": scene.undo,
        "asked": scene.asked,
        "steps": scene.steps,
        "here": here,
        "voices": spoken,
        "line": _line(feed) if here else "",
    }


def _line(feed: Status | None) -> str:
    """What a person should know of the machine now, in one line; mostly nothing."""
    if feed is None:
        return ""
    if feed.engine.state in REASONS:
        return REASONS[feed.engine.state]
    for name, one in feed.voices.items():
        if one.state in SILENT:
            return SILENT[one.state].format(voice=name)
    return ""


def view(
    scene: Scene, mode: ModeSpec | None, feed: Status | None, *, here: bool, draft: str, words: Sequence[Json]
) -> Json:
    """Everything a page needs to show the thread."""
    return {
        "type": "view",
        "thread": {
            "id": scene.record.id,
            "mode": scene.record.mode,
            "mode_title": mode.title if mode else scene.record.mode,
            "human": mode.human if mode else "Me",
        },
        "voices": voices(mode),
        "thoughts": [thought(one) for one in scene.tail],
        "earlier": scene.earlier,
        "fork": fork(scene.fork),
        "draft": draft,
        "words": list(words),
        "status": status(scene, feed, here=here),
    }


def path(change: Change) -> Json:
    """The thoughts that are new on the path, after the first `keep` of it."""
    return {"type": "path", "keep": change.keep, "thoughts": [thought(one) for one in change.thoughts]}


def told(record: ForkRecord, choice: ChoiceRecord, *, mine: bool = False) -> str:
    """ "Ana chose 2 a moment ago.", for everybody else; "me" is whoever sits at another page of this interface."""
    name = "You" if mine else "Another page" if choice.arbiter == "me" else choice.arbiter
    key = next((one.key for one in record.options if one.id == choice.option_id), None)
    did = {
        "option": f"chose {key}" if key else "chose",
        "edit": "took an edited option",
        "own": "answered in own words",
        "none": "refused all",
    }
    return f"{name} {did[choice.kind]} a moment ago."
