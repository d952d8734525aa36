"""What a start looks like on a screen: one line for each thing, a moving one where it takes time.

Owns the lines and nothing else. On a terminal the line under way spins; elsewhere each line is printed once,
when there is something to say. Everything goes to stderr: stdout belongs to results.
"""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.text import Text

LABEL_WIDTH = 10


class Progress:
    """Lines `label  text`. Call `begin`, any number of `update`s, then `done`; or `done` alone."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._status: Status | None = None
        self._label = ""
        self._last = ""

    def begin(self, label: str, text: str) -> None:
        """Something that takes time has started."""
        self.close()
        self._label = label
        if self._quiet:
            return
        if self._console.is_terminal:
            self._status = self._console.status(self._line(text, indent=""), spinner="dots")
            self._status.start()
        else:
            self._print(text)

    def update(self, text: str) -> None:
        """What it is doing now."""
        if self._quiet:
            return
        if self._status is not None:
            self._status.update(self._line(text, indent=""))
        elif text != self._last:
            self._print(text)

    def done(self, label: str, text: str) -> None:
        """It is done, and this is what there is to know."""
        self.close()
        self._label = label
        if not self._quiet and text != self._last:
            self._print(text)

    def close(self) -> None:
        """Stop the moving line; safe to call at any time."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _line(self, text: str, indent: str = "  ") -> Text:
        """The spinner and its blank take the place of the indent."""
        return Text.assemble((indent + self._label.ljust(LABEL_WIDTH), "bold"), " ", text)

    def _print(self, text: str) -> None:
        self._last = text
        self._console.print(self._line(text), soft_wrap=True)
