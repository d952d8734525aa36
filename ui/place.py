"""Where the browser is: which screen the address asks for, and leading to another one.

Owns the query parameters. Must not know what is on a screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

THREAD = "thread"
PAGE = "page"
THREADS = "threads"


def asked_thread() -> str | None:
    """The thread in the address; None where it asks for another screen."""
    found = st.query_params.get(THREAD)
    return None if found is None else str(found).strip()


def asked_page() -> str:
    return str(st.query_params.get(PAGE, ""))


def follow(asked: Any) -> None:
    """Lead to what a component's link asked for ({"thread": id}, {"page": name}, {}); nothing asked: stay."""
    if not isinstance(asked, Mapping):
        return
    st.query_params.from_dict({key: str(asked[key]) for key in (THREAD, PAGE) if asked.get(key)})
    st.rerun()
