"""One thread: the stage, and in the sidebar what can be saved of it."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import streamlit as st

from orchestrator.errors import UnknownThread
from ui import place
from ui.component import Link, shelf, stage
from ui.house import House

FORMATS = (
    ("Markdown", "md", "text/markdown", "export_markdown"),
    ("JSONL", "jsonl", "application/x-ndjson", "export_jsonl"),
)
LOST = """<div class="lost"><h1>This thread is not here.</h1>
<p>Its address may be mistyped, or it belongs to another data directory.</p></div>"""


def show(here: House, asked: str) -> None:
    try:
        if not asked:
            raise UnknownThread(asked)
        thread = here.store.thread(asked)
    except UnknownThread:
        st.html(LOST)
        ways = (Link("Begin anew", {}), Link("All threads", {place.PAGE: place.THREADS}))
        shelf(here, "lost", (), name="Ways on", short=True, above=ways)
        return
    stage(here, thread)
    with st.sidebar:
        for label, ending, kind, function in FORMATS:
            st.download_button(
                f"Save as {label}",
                data=partial(_exported, here, function, thread.id),
                file_name=f"thread-{thread.id[:8]}.{ending}",
                mime=kind,
                on_click="ignore",
            )


def _exported(here: House, function: str, thread_id: str) -> str:
    """Made when the button is pressed, not before."""
    return str(getattr(import_module("orchestrator.export"), function)(here.store, thread_id))
