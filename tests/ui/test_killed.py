"""The interface is killed between a click and its commit, and after it (faults 5): real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from websockets.asyncio.client import ClientConnection, connect

from orchestrator.settings import Settings
from orchestrator.store import ForkRecord, Store, ThreadRecord
from tests.ui.stage_double import StageDouble
from ui.doors import Doors, key_at
from ui.server import KEY_FILE, listen


@contextmanager
def interface(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`python -m ui` on any free port; killed at the end if it still lives."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ui", "--port", "0"],
        env={**os.environ, **settings.environment()},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            found = re.search(r"interface on http://127\.0\.0\.1:(\d+)", line)
            if found:
                yield process, int(found[1])
                break
        else:
            raise AssertionError("the interface did not start")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def test_a_taken_port_is_one_line_and_an_exit_code(settings: Settings) -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ui",
            "--port",
            str(taken.getsockname()[1]),
            env={**os.environ, **settings.environment()},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 3
    assert re.fullmatch(r"Port \d+ on 127\.0\.0\.1 is taken\. .+\n", said.decode())


def line(settings: Settings, port: int, thread: str) -> connect:
    token = Doors(key_at(settings.run_dir / KEY_FILE)).token("killed")
    address = f"ws://127.0.0.1:{port}/inner/ws?thread={thread}&token={token}&page=p"
    return connect(address, origin=f"http://127.0.0.1:{port}", open_timeout=60)  # type: ignore[arg-type]


async def until(socket: ClientConnection, kind: str) -> dict[str, object]:
    async with asyncio.timeout(60):
        while True:
            message: dict[str, object] = json.loads(await socket.recv())
            if message["type"] == kind:
                return message


def click(fork: ForkRecord) -> str:
    event = {"type": "choose", "id": "the-one-click", "seq": 1, "fork": fork.id, "kind": "option"}
    return json.dumps({**event, "option": fork.options[1].id, "via": "click", "seconds": 2.0})


async def test_killed_before_the_commit_the_fork_is_still_open(
    settings: Settings, store: Store, thread: ThreadRecord, fork: ForkRecord
) -> None:
    with interface(settings) as (process, port), closing(sqlite3.connect(settings.store_path)) as other:
        async with line(settings, port, thread.id) as socket:
            await until(socket, "view")
            other.execute("BEGIN IMMEDIATE")  # somebody else is writing: the click cannot be committed yet
            await socket.send(click(fork))
            await asyncio.sleep(0.3)
            process.send_signal(signal.SIGKILL)
            process.wait()
        other.rollback()
    still = store.open_fork(thread.id)
    assert still is not None
    assert (still.id, still.choice) == (fork.id, None)
    with interface(settings) as (_, port):  # the page sends what was not acknowledged once more
        async with line(settings, port, thread.id) as socket:
            await until(socket, "view")
            await socket.send(click(fork))
            assert (await until(socket, "ack"))["ok"]
    assert len([one for one in store.forks(thread.id) if one.choice]) == 1


async def test_killed_after_the_commit_the_choice_is_applied_without_it(
    settings: Settings, store: Store, thread: ThreadRecord, fork: ForkRecord
) -> None:
    with interface(settings) as (process, port):
        async with line(settings, port, thread.id) as socket:
            await until(socket, "view")
            await socket.send(click(fork))
            assert (await until(socket, "ack"))["ok"]
            process.send_signal(signal.SIGKILL)
            process.wait()
    with StageDouble(settings):
        async with asyncio.timeout(20):
            while store.pending():  # noqa: ASYNC110 - another thread's work
                await asyncio.sleep(0.02)
    chosen = [one for one in store.tree(thread.id) if one.text == fork.options[1].text.strip()]
    assert len(chosen) == 1
    assert store.integrity() == []
