"""Who may come in: same origin, a host name that is ours, and a token per Streamlit session.

Owns the checks that stand before every WebSocket and before our own routes. Streamlit checks the origin of its
own socket only, and looks up this machine's public address over the network to do so for a foreign one: the
middleware here answers first. Must not know what is said once inside.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


KEY_BYTES = 32


def key_at(path: Path) -> bytes:
    """The key in a file of ours (0600), made where there is none: a page that is open while the interface is
    restarted comes back with the token it has. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:  # a start that was killed between making the file and filling it
        path.unlink()
        return key_at(path)
    return key


class Doors:
    """Tokens for the sessions of one key. A token is `SESSION.MAC`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, session: str) -> str:
        return f"{session}.{self._mac(session)}"

    def admits(self, token: str) -> bool:
        session, dot, mac = token.rpartition(".")
        return bool(dot and session) and hmac.compare_digest(mac.encode(), self._mac(session).encode())

    def _mac(self, session: str) -> str:
        return hmac.new(self._key, session.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def same_origin(headers: Mapping[str, str]) -> bool:
    """The page that asks was served by the host it asks. A request without an Origin is no page: refused."""
    origin, host = headers.get("origin", ""), headers.get("host", "")
    return bool(host) and urlsplit(origin).netloc.lower() == host.lower()


def host_name(host: str) -> str:
    """`127.0.0.1:8501` → `127.0.0.1`; empty where it is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def allowed_hosts(bound: str) -> frozenset[str] | None:
    """Host names a request may use, against DNS rebinding; None: any, since the wildcard was asked for."""
    name = bound.strip("[]").lower()
    if name in LOOPBACK:
        return LOOPBACK
    try:
        if ipaddress.ip_address(name).is_unspecified:
            return None
    except ValueError:
        pass  # a name, not an address
    return LOOPBACK | {name}


class Gatekeeper:
    """ASGI middleware: foreign hosts get 403 everywhere, foreign origins get 403 on every WebSocket."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._admits(scope["type"], Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before accept: answered with 403
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    def _admits(self, kind: str, headers: Headers) -> bool:
        if self._hosts is not None and host_name(headers.get("host", "")).lower() not in self._hosts:
            return False
        return kind != "websocket" or same_origin(headers)
