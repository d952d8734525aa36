"""What the ASGI process and the page scripts share: settings, store, modes, doors.

Owns the one place where Streamlit's scripts, which are run anew in their own threads, find the objects the
process opened. Must not open, close or change any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.settings import Settings
from orchestrator.store import Store
from ui.doors import Doors
from voices.role import ModeSpec


@dataclass(frozen=True)
class House:
    settings: Settings
    store: Store
    modes: Mapping[str, ModeSpec]
    doors: Doors


_open: list[House] = []
"""At most one. Streamlit gives a script no way to its server's objects, so a process-wide place is needed."""


def enter(house: House) -> None:
    """From here on `current()` is this house: called when the server starts, and by tests of a page."""
    _open[:] = [house]


def leave() -> None:
    _open.clear()


def current() -> House:
    """The open house. Raises RuntimeError where no server runs in this process."""
    if not _open:
        raise RuntimeError("the pages need their server: start them with `python -m ui`")
    return _open[0]
