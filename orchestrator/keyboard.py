"""Reads a person's lines: key by key with a small line editor on a terminal, plain lines from a pipe.

Owns the terminal's mode, the decoding of keys and the line being typed. Must not know what lines mean, nor
draw anything: whoever draws asks for `line` and `cursor`.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import sys
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

_SEQUENCES = {
    "[D": "left",
    "[C": "right",
    "[H": "home",
    "[F": "end",
    "[1~": "home",
    "[4~": "end",
    "[3~": "delete",
    "OH": "home",
    "OF": "end",
    "[200~": "paste",
    "[201~": "pasted",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x01": "home",
    "\x05": "end",
    "\x02": "left",
    "\x06": "right",
    "\x15": "clear",
    "\x17": "word",
    "\x04": "end-of-input",
    "\x1b": "escape",
}
_PASTE_ON, _PASTE_OFF = b"\x1b[?2004h", b"\x1b[?2004l"
_ESCAPE = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O[A-Za-z])")


def split_keys(text: str) -> list[str]:
    """Keys in what a terminal sent: characters, and names such as "left" for the others."""
    keys = []
    while text:
        if sequence := _ESCAPE.match(text):
            keys.append(_SEQUENCES.get(sequence[1], "unknown"))
            text = text[sequence.end() :]
            continue
        character, text = text[0], text[1:]
        keys.append(_CONTROLS.get(character, character if character.isprintable() else "unknown"))
    return keys


class LineEditor:
    """A line being typed. `press` takes one key; returns the whole line at Enter."""

    def __init__(self) -> None:
        self.line = ""
        self.cursor = 0

    def set(self, line: str) -> None:
        """Begin with this text, the cursor at its end."""
        self.line, self.cursor = line, len(line)

    def press(self, key: str) -> str | None:
        if key == "enter":
            line = self.line
            self.set("")
            return line
        if len(key) == 1:
            self._replace(self.cursor, self.cursor, key)
        elif key == "backspace" and self.cursor:
            self._replace(self.cursor - 1, self.cursor, "")
        elif key == "delete":
            self._replace(self.cursor, self.cursor + 1, "")
        elif key == "word":
            self._replace(len(self.line[: self.cursor].rstrip().rpartition(" ")[0]), self.cursor, "")
        elif key == "clear":
            self._replace(0, self.cursor, "")
        else:
            moves = {"left": self.cursor - 1, "right": self.cursor + 1, "home": 0, "end": len(self.line)}
            self.cursor = min(max(moves.get(key, self.cursor), 0), len(self.line))
        return None

    def _replace(self, start: int, end: int, text: str) -> None:
        self.line = self.line[:start] + text + self.line[end:]
        self.cursor = start + len(text)


@dataclass(frozen=True)
class Line:
    """A line was entered."""

    text: str


@dataclass(frozen=True)
class Key:
    """A key that does not change the line: on an empty line a digit, a blank or Escape."""

    name: str


@dataclass(frozen=True)
class Typing:
    """The line changed: draw it."""


@dataclass(frozen=True)
class EndOfInput:
    """Nobody will say anything any more."""


Input = Line | Key | Typing | EndOfInput


class Keyboard:
    """Input as an asyncio queue.

    On a terminal keys come at once (`single` says which ones answer by themselves on an empty line), Ctrl-C
    stays a signal, and pasted text is one line whatever it contains. From a pipe or a file, or unless `by_key`,
    whole lines come.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        single: Callable[[str], bool] = lambda key: False,
        *,
        by_key: bool = True,
    ) -> None:
        self.editor = LineEditor()
        self.inputs: asyncio.Queue[Input] = asyncio.Queue()
        stream = stream or sys.stdin
        self._fd = stream.fileno()
        self._single = single
        self._loop = asyncio.get_running_loop()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._pasting = False
        self._before: list[Any] | None = None
        self.is_terminal = by_key and os.isatty(self._fd)

    def __enter__(self) -> Keyboard:
        if self.is_terminal:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSANOW)
            os.write(self._fd, _PASTE_ON)
        try:
            self._loop.add_reader(self._fd, self._readable)
        except PermissionError:  # a file: always readable, and nothing to wait for
            while self._readable():
                pass
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._fd)
        if self._before is not None:
            os.write(self._fd, _PASTE_OFF)
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None

    def _readable(self) -> bool:
        """Take what is there; False at the end of the input."""
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the terminal was closed
            data = b""
        text = self._decoder.decode(data, final=not data)
        if self.is_terminal:
            for key in split_keys(text):
                self._press(key)
        else:
            *lines, self._pending = (self._pending + text).split("\n")
            if not data and self._pending:
                lines.append(self._pending)
            for line in lines:
                self.inputs.put_nowait(Line(line))
        if not data:
            self._loop.remove_reader(self._fd)
            self.inputs.put_nowait(EndOfInput())
        return bool(data)

    def _press(self, key: str) -> None:
        if key in ("paste", "pasted"):
            self._pasting = key == "paste"
        elif self._pasting:
            self.editor.press(key if len(key) == 1 else " ")
            self.inputs.put_nowait(Typing())
        elif key == "end-of-input":
            self.inputs.put_nowait(EndOfInput())
        elif not self.editor.line and self._single(key):
            self.inputs.put_nowait(Key(key))
        else:
            line = self.editor.press(key)
            self.inputs.put_nowait(Typing() if line is None else Line(line))
