"""All threads: open, resume, rename, archive."""

from __future__ import annotations

import streamlit as st

from ui.component import shelf
from ui.house import House


def show(here: House) -> None:
    st.html('<div class="pagehead"><h1>Threads</h1></div>')
    empty = "No thread yet. The first begins with one line."
    shelf(here, "all", here.store.threads(), name="All threads", acts=True, empty=empty)
    archived = here.store.threads(archived=True)
    if archived:
        st.html('<div style="height:2.5rem"></div>')
        shelf(here, "archived", archived, name="Archived", head="archived", acts=True, archived=True)
