"""What Streamlit's front end is told about itself: no dialogs over the page, no talk with other windows.

Owns the answer to `/_stcore/host-config`. While the server is away Streamlit would cover the page with "Connection
error" and make everything under it inert; the stage says it in one calm line and keeps what is written. There is no
option for this, only this answer, which hosts that embed Streamlit give in the same way.
"""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/_stcore/host-config"
HOST_CONFIG = {
    "allowedOrigins": [],
    "useExternalAuthToken": False,
    "enableCustomParentMessages": False,
    "enforceDownloadInNewTab": False,
    "metricsUrl": "",
    "blockErrorDialogs": True,
    "resourceCrossOriginMode": None,
}


class Manners:
    """ASGI middleware: answers the one path, and passes on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            answer = JSONResponse(HOST_CONFIG, headers={"Cache-Control": "no-cache"})
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)
