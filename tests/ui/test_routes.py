"""Begin a thread, keep the list: what is let in and what is said otherwise."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from orchestrator.store import Store, ThreadRecord
from tests.ui.conftest import Server

EVENT = "0123456789abcdef"


def post(server: Server, path: str, body: Any, origin: str | None = "same") -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    if origin:
        headers["Origin"] = server.url if origin == "same" else origin
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def ask(
    server: Server, path: str, body: Any, origin: str | None = "same"
) -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(post, server, path, body, origin)


def opening(server: Server, text: str, mode: str = "journal", event: str = EVENT) -> dict[str, str]:
    return {"token": server.token(), "id": event, "mode": mode, "opening": text}


class TestBegin:
    async def test_a_thread_begins_with_its_opening_and_goes_on(self, server: Server, store: Store) -> None:
        status, answer = await ask(server, "/inner/begin", opening(server, "I keep postponing the call."))
        thread = store.thread(answer["thread"])
        assert status == 200
        assert (thread.mode, thread.title) == ("journal", "I keep postponing the call.")
        assert thread.remaining > 0
        assert store.path(thread.id)[0].human

    async def test_the_same_event_twice_is_one_thread(self, server: Server, store: Store) -> None:
        first = await ask(server, "/inner/begin", opening(server, "once"))
        second = await ask(server, "/inner/begin", opening(server, "once"))
        assert first == second
        assert len(store.threads()) == 1

    @pytest.mark.parametrize(
        ("text", "mode", "said"),
        [
            ("", "journal", "no words"),
            (" \n\u200b\t", "journal", "no words"),
            ("a" * 1_000_000, "journal", "20,000"),
            ("hello", "poetry", "poetry"),
        ],
    )
    async def test_what_cannot_begin_is_said_and_makes_nothing(
        self, server: Server, store: Store, text: str, mode: str, said: str
    ) -> None:
        status, answer = await ask(server, "/inner/begin", opening(server, text, mode))
        assert status == 400
        assert said in answer["message"]
        assert store.threads() == []

    async def test_far_too_much_is_not_even_kept_in_memory(self, server: Server) -> None:
        status, answer = await ask(server, "/inner/begin", opening(server, "a" * 9_000_000))
        assert status == 413
        assert "20,000" in answer["message"]


class TestDoors:
    @pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
    async def test_another_site_cannot_begin_a_thread(
        self, server: Server, store: Store, origin: str | None
    ) -> None:
        status, _ = await ask(server, "/inner/begin", opening(server, "hello"), origin)
        assert status == 403
        assert store.threads() == []

    async def test_nor_can_a_page_without_a_token(self, server: Server, store: Store) -> None:
        status, answer = await ask(server, "/inner/begin", {**opening(server, "hello"), "token": "x.y"})
        assert status == 403
        assert "reload" in answer["message"]

    @pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"[" * 100_000, b'"\xff"'])
    async def test_nonsense_is_refused(self, server: Server, body: bytes) -> None:
        status, _ = await ask(server, "/inner/begin", body)
        assert status == 400


class TestKeep:
    async def test_rename_archive_restore_resume(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async def act(act: str, title: str = "") -> int:
            body = {"token": server.token(), "act": act, "thread": thread.id, "title": title}
            return (await ask(server, "/inner/threads", body))[0]

        assert await act("rename", "the new project") == 200
        assert store.thread(thread.id).title == "the new project"
        assert await act("archive") == 200
        assert store.threads() == []
        assert await act("restore") == 200
        store.set_remaining(thread.id, 0)
        assert await act("resume") == 200
        assert store.thread(thread.id).remaining == 3
        assert await act("delete") == 422

    async def test_an_unknown_thread_is_said(self, server: Server) -> None:
        body = {"token": server.token(), "act": "archive", "thread": "nope"}
        status, answer = await ask(server, "/inner/threads", body)
        assert status == 400
        assert "nope" in answer["message"]

    async def test_health_is_open_to_the_supervisor(self, server: Server) -> None:
        def get() -> dict[str, Any]:
            with urllib.request.urlopen(f"{server.url}/inner/health", timeout=20) as answer:
                found: dict[str, Any] = json.load(answer)
                return found

        health = await asyncio.to_thread(get)
        assert health["ok"]
        assert health["dropped"] == 0
