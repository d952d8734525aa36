"""How Streamlit is dressed: its options, colours and fonts, and the style sheet that quiets it.

Owns everything that is said to Streamlit about looks and manners. Must not know what is on the pages.
No option here leads to a request to another machine: fonts are the system's, usage statistics are off.
"""

from __future__ import annotations

import logging
from typing import Any

from ui.doors import allowed_hosts

SANS = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Liberation Sans, Arial, sans-serif"
SERIF = "Iowan Old Style, Charter, Palatino Linotype, Palatino, Book Antiqua, Cambria, Georgia, Liberation Serif, serif"
LIGHT = {
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f7f5f2",
    "textColor": "#2b2926",
    "primaryColor": "#4a4640",
    "borderColor": "#e6e2dc",
    "linkColor": "#2b2926",
}
DARK = {
    "backgroundColor": "#171614",
    "secondaryBackgroundColor": "#201e1b",
    "textColor": "#e9e5df",
    "primaryColor": "#cfc9c0",
    "borderColor": "#34312d",
    "linkColor": "#e9e5df",
}
"""The two grounds on which the voices' colours were computed (≥ 4.5:1)."""
log = logging.getLogger(__name__)

STYLE = """
<style>
  header[data-testid="stHeader"] { background: none; pointer-events: none; }
  header[data-testid="stHeader"] button { pointer-events: auto; }
  [data-testid="stToolbarActions"], [data-testid="stMainMenu"], [data-testid="stAppDeployButton"],
  [data-testid="stStatusWidget"], [data-testid="stDecoration"], footer {
    display: none !important;
  }
  [data-testid="stExpandSidebarButton"], [data-testid="stSidebarCollapseButton"] button {
    width: 48px; height: 48px;
  }
  [data-testid="stMainBlockContainer"] { max-width: 48rem; padding: 0 1rem; }
  [data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] { gap: 0; }
  [data-testid="stElementContainer"]:has(style) { display: none; }
  [data-testid="stSidebarContent"] { padding: 0 .5rem; scrollbar-width: thin; }
  [data-testid="stSidebarUserContent"] { padding: 0 0 1.5rem; margin: 0; }
  [data-testid="stSidebarUserContent"] [data-testid="stVerticalBlock"] { gap: 0; }
  [data-testid="stSidebarHeader"] { height: 56px; padding: 4px 0 0; margin: 0; justify-content: flex-end; }
  [data-testid="stSidebar"] [data-testid="stDownloadButton"] button {
    min-height: 48px; border: 0; background: none; padding: 0 .85rem; font-weight: 400;
  }
  [data-testid="stSidebar"] [data-testid="stDownloadButton"] p { font-size: .875rem; }
  .lost, .pagehead { max-width: 46rem; margin: 0 auto; padding: 24vh .25rem 1.5rem; }
  .pagehead { padding: 4.5rem .25rem 1.25rem; }
  .lost h1, .pagehead h1 { padding: 0 0 .5rem; font-size: 2rem; font-weight: 400; line-height: 1.3; FONT }
</style>
""".replace("FONT", f"font-family: {SERIF};")


def streamlit_options(host: str, port: int) -> dict[str, Any]:
    """Every option of Streamlit's we rely on, by its dotted name."""
    hosts = allowed_hosts(host)
    options: dict[str, Any] = {
        "server.headless": True,
        "server.address": host,
        "server.port": port,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "runner.magicEnabled": False,
        "server.allowedHosts": sorted(hosts) if hosts else ["*"],
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "logger.level": "warning",
        "theme.font": SANS,
        "theme.headingFont": SERIF,
        "theme.headingFontWeights": [400],
        "theme.baseRadius": "10px",
        "theme.buttonRadius": "10px",
        "theme.showSidebarBorder": False,
    }
    for name, colours in (("light", LIGHT), ("dark", DARK)):
        options |= {f"theme.{name}.{key}": value for key, value in colours.items()}
        options[f"theme.{name}.sidebar.backgroundColor"] = colours["secondaryBackgroundColor"]
    return options


def on_script_error(error: Exception) -> bool:
    """The traceback goes to the log; the page says it in one line. True: Streamlit shows nothing of its own."""
    import streamlit as st

    log.error("a page failed", exc_info=error)
    st.html(
        '<div class="lost"><h1>This page stumbled.</h1>'
        "<p>Nothing is lost: everything you chose and wrote is in the store. Reload the page; "
        "if it stays so, the reason is in logs/ui.log.</p></div>"
    )
    return True
