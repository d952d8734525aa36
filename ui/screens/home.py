"""Begin: one line, three quiet words, the last threads. Nothing else."""

from __future__ import annotations

from ui.component import begin, shelf
from ui.house import House

LAST = 5


def show(here: House) -> None:
    begin(here)
    last = here.store.threads(limit=LAST)
    if last:
        shelf(here, "last", last, name="Last threads", head="last threads")
