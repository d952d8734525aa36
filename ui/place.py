"""Where the browser is: which screen the address asks for, and leading to another one.

Owns the query parameters. Must not know what is on a screen.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def follow(key: str) -> None:
    """Callback of a component's `open`: lead to what its link asked for ({"thread": id}, {"page": name}, {}).

    A callback runs before the script, so that the very run the click caused shows the new screen.
    """
    asked = st.session_state[key].get("open")
    if isinstance(asked, Mapping):
        st.query_params.from_dict({name: str(asked[name]) for name in (THREAD, PAGE) if asked.get(name)})
