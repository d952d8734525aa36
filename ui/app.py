"""The script Streamlit runs: frame, sidebar, and the screen the address asks for."""

from pathlib import Path

import streamlit as st

from ui import house, place
from ui.component import Link, shelf
from ui.screens import home, thread, threads
from ui.theme import STYLE

SHORT = 12
"""Threads in the sidebar; all of them have a screen of their own."""
ICON = str(Path(__file__).with_name("stage") / "icon.svg")

st.set_page_config(
    page_title="Inner Dialogue", page_icon=ICON, layout="centered", initial_sidebar_state="auto"
)
st.html(STYLE)

here = house.current()
asked, page = place.asked_thread(), place.asked_page()
with st.sidebar:
    recent = here.store.threads(limit=SHORT)
    shelf(
        here,
        "sidebar",
        recent,
        name="Recent threads",
        short=True,
        current=asked or "",
        above=(Link("Begin anew", {}, asked is None and page != place.THREADS),),
        below=(Link("All threads", {place.PAGE: place.THREADS}, page == place.THREADS),) if recent else (),
    )

if asked is not None:
    thread.show(here, asked)
elif page == place.THREADS:
    threads.show(here)
else:
    home.show(here)
