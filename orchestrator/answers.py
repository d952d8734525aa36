"""What a person typed, as an answer: a digit chooses, a single letter commands, everything else is own words.

Owns the small language of the terminal arbiter. Must not know how it was typed, nor what becomes of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

HELP = (
    ("1–9", "choose that option"),
    ("e 2", "edit option 2 before taking it"),
    ("x", "none of these: others are drawn"),
    ("z", "undo my last decision"),
    ("g", "go on by itself (at a fork: with the first option)"),
    ("s", "stop here; the thread is kept"),
    ("w …", "own words, whatever they begin with"),
    ("?", "this help"),
)


@dataclass(frozen=True)
class Choose:
    """Take the option of this key."""

    key: int


@dataclass(frozen=True)
class Edit:
    """Take the option of this key, changed to `text`; without text: let it be edited first."""

    key: int
    text: str = ""


@dataclass(frozen=True)
class Own:
    """Own words."""

    text: str


@dataclass(frozen=True)
class Refuse:
    """None of these."""


@dataclass(frozen=True)
class Undo:
    """My last decision shall stand open again."""


@dataclass(frozen=True)
class GoOn:
    """Go on by itself."""


@dataclass(frozen=True)
class Stop:
    """Enough for now."""


@dataclass(frozen=True)
class Help:
    """What can I do here?"""


@dataclass(frozen=True)
class Unclear:
    """Not an answer; `why` says it to the person."""

    why: str


Answer = Choose | Edit | Own | Refuse | Undo | GoOn | Stop | Help | Unclear

_LETTERS: dict[str, Answer] = {
    "x": Refuse(),
    "z": Undo(),
    "g": GoOn(),
    "s": Stop(),
    "q": Stop(),
    "?": Help(),
}


def read_answer(line: str, keys: Collection[int] = ()) -> Answer | None:
    """The answer in a typed line; None for an empty one. `keys` are those of the options on screen.

    With options on screen a lone digit is a key, so own words that are one digit are written `w 7`.
    """
    text = line.strip()
    if not text:
        return None
    if text.lower() in _LETTERS:
        return _LETTERS[text.lower()]
    if own := re.fullmatch(r"w\s+(.+)", text, re.DOTALL | re.IGNORECASE):
        return Own(own[1])
    if keys and re.fullmatch(r"[1-9]", text):
        key = int(text)
        return Choose(key) if key in keys else Unclear(f"There is no option {key}. Own words: w {key}")
    if keys and (edit := re.fullmatch(r"e\s*([1-9])(?:\s+(.*))?", text, re.DOTALL | re.IGNORECASE)):
        key = int(edit[1])
        return Edit(key, edit[2] or "") if key in keys else Unclear(f"There is no option {key} to edit.")
    if keys and text.lower() == "e":
        return Unclear("Which one? e 1, e 2 …")
    return Own(text)
