"""The three components of the pages: stage (a thread), begin (the first line), shelf (a list of threads).

Owns their registration from the files in ui/stage/, and what is handed to each. Must not know what they do.
A component's script is its parts put one after the other: Streamlit loads one module per component.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from orchestrator.store import ThreadRecord, ThreadSummary
from orchestrator.text import OPENING_LIMIT
from ui import place
from ui.house import House
from voices.role import ModeSpec

PARTS = {
    "stage": ("base", "line", "stream", "fork", "own", "hands", "stage"),
    "begin": ("base", "begin"),
    "shelf": ("base", "shelf"),
}
HELP = {
    "journal": "Voices mirror, question and turn what you say, one sentence at a time.",
    "brainstorm": "Voices find ideas by turns; you keep the ones that lead somewhere.",
    "steps": "One problem, one step after the other; you approve where it is doubtful.",
}


@dataclass(frozen=True)
class Link:
    """A way to another screen: `to` are the query parameters of its address."""

    label: str
    to: Mapping[str, str]
    current: bool = False


@cache
def _renderer(name: str) -> ComponentRenderer:
    folder = resources.files("ui") / "stage"

    def read(part: str) -> str:
        return (folder / part).read_text(encoding="utf-8")

    return st.components.v2.component(
        f"inner_{name}",
        html=read(f"{name}.html"),
        css=read("base.css") + read(f"{name}.css"),
        js="\n".join(read(f"{part}.js") for part in PARTS[name]),
    )


def session_token(house: House) -> str:
    """The token that lets this browser session's components in."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return house.doors.token(context.session_id if context else "none")


def stage(house: House, thread: ThreadRecord) -> None:
    """The thread itself. Its `bell` has the script run again, so that the list of threads is read anew."""
    data = {"thread": thread.id, "title": thread.title, "token": session_token(house)}
    _renderer("stage")(key=f"stage-{thread.id}", data=data, on_bell_change=lambda: None)


def begin(house: House) -> None:
    """The first line; leads to the thread that was begun."""
    modes = [
        {"name": mode.name, "title": mode.title, "placeholder": mode.placeholder, "help": _help(mode)}
        for mode in sorted(house.modes.values(), key=_first_journal)
    ]
    data = {"modes": modes, "limit": OPENING_LIMIT, "token": session_token(house)}
    _renderer("begin")(key="begin", data=data, on_open_change=partial(place.follow, "begin"))


def shelf(
    house: House,
    key: str,
    threads: Sequence[ThreadSummary],
    *,
    name: str,
    head: str = "",
    empty: str = "",
    short: bool = False,
    acts: bool = False,
    archived: bool = False,
    current: str = "",
    above: Sequence[Link] = (),
    below: Sequence[Link] = (),
) -> None:
    """A list of threads, each a link to it; `name` is what a screen reader calls it."""
    now = datetime.now(UTC)
    data = {
        "threads": [_line(house, one, now) for one in threads],
        "name": name,
        "head": head,
        "empty": empty,
        "short": short,
        "acts": acts,
        "archived": archived,
        "current": current,
        "above": [vars(link) for link in above],
        "below": [vars(link) for link in below],
        "token": session_token(house),
    }
    _renderer("shelf")(
        key=key, data=data, on_open_change=partial(place.follow, key), on_bell_change=lambda: None
    )


def _line(house: House, thread: ThreadSummary, now: datetime) -> dict[str, Any]:
    mode = house.modes.get(thread.mode)
    count = thread.n_thoughts
    return {
        "id": thread.id,
        "title": thread.title,
        "mode": (mode.title if mode else thread.mode).lower(),
        "count": f"{count} thought{'' if count == 1 else 's'}",
        "when": ago(now, thread.updated_at),
        "last": thread.last,
        "waits": thread.open_fork,
        "rests": not thread.open_fork and thread.remaining == 0,
    }


def ago(now: datetime, then: datetime) -> str:
    """How long ago, in the coarsest words that help."""
    seconds = max(0.0, (now - then).total_seconds())
    if seconds < 60:
        return "just now"
    days = int(seconds // 86_400)
    if days > 6:
        return f"{then.day} {then:%b}" + (f" {then.year}" if then.year != now.year else "")
    if days:
        return f"{days} d ago"
    return f"{int(seconds // 3_600)} h ago" if seconds >= 3_600 else f"{int(seconds // 60)} min ago"


def _help(mode: ModeSpec) -> str:
    return HELP.get(mode.name, "")


def _first_journal(mode: ModeSpec) -> tuple[int, str]:
    known = list(HELP)
    return (known.index(mode.name) if mode.name in known else len(known), mode.title)
