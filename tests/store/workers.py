"""Real processes for store tests: `python -m tests.store.workers COMMAND PATH ...`.

open PATH                 wait for a line, open the store, print the number of threads
choose PATH INDEX NAME    wait for a line, choose option INDEX at every open fork, print the forks won as JSON
steps PATH                think, ask, choose, apply and undo without end, printing what was acknowledged;
                          killed from outside
die TEMPLATE DIRECTORY    for n = 1, 2, ...: copy the template, do one automatic step, die by SIGKILL after
                          n statements; print the n that lived
create DIRECTORY          the same while making a store from nothing, for every 12th n
upgrade PATH LOCATION     open the store with the migrations at LOCATION as this version's
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, event

from orchestrator.store import NewFork, NewThought, Store, migrate
from tests.store.tools import OPTIONS, ask, begun, decision, go_on


def open_store(path: str) -> None:
    sys.stdin.readline()
    with Store.open(path) as store:
        print(len(store.threads()))


def choose(path: str, index: str, name: str) -> None:
    with Store.open(path) as store:
        forks = [fork for thread in store.threads() if (fork := store.open_fork(thread.id))]
        print("ready", flush=True)
        sys.stdin.readline()
        won = []
        for fork in forks:
            option = fork.options[int(index)]
            if store.choose(fork.id, "option", option_id=option.id, arbiter=name, via="key").won:
                won.append(fork.id)
        print(json.dumps(won))


def steps(path: str) -> None:
    with Store.open(path) as store:
        thread = begun(store)
        for n in count():
            print("thought", go_on(store, thread.id, f"thought {n}").id, flush=True)
            fork = ask(store, thread.id)
            print("fork", fork.id, flush=True)
            choice = store.choose(fork.id, "option", option_id=fork.options[n % 3].id).choice
            print("choice", choice.id, flush=True)
            store.apply(choice.id)
            print("applied", choice.id, flush=True)
            if n % 3 == 2:
                again = store.undo(thread.id)
                assert again is not None
                print("fork", again.id, flush=True)
                store.apply(store.choose(again.id, "own", text="Mine.").choice.id)


def die(template: str, directory: str) -> None:
    def step(path: Path, arm: Callable[[Engine], None]) -> None:
        shutil.copy(template, path)
        with Store.open(path) as store:
            thread = store.threads()[0]
            arm(store._writers)
            new = NewThought(author="Echo", text=OPTIONS[0].text)
            store.commit_thought(thread.id, thread.tip, new, decision(), NewFork(asked=False), OPTIONS)

    print(_die_at_statements(Path(directory), step, every=1))


def create(directory: str) -> None:
    def make(path: Path, arm: Callable[[Engine], None]) -> None:
        arm(Engine)  # type: ignore[arg-type]
        Store.open(path).close()

    import alembic.command  # noqa: F401 - before the forks: each of them would

    print(_die_at_statements(Path(directory), make, every=12))


def upgrade(path: str, location: str) -> None:
    migrate.CURRENT = migrate.Schema(version=2, head="0002", location=Path(location))
    Store.open(path).close()


Work = Callable[[Path, Callable[[Engine], None]], None]


def _die_at_statements(directory: Path, work: Work, *, every: int) -> int:
    """Each try in a process of its own, so that the death is a real one. The first n that was not reached."""
    for n in count(1, every):
        child = os.fork()
        if child == 0:
            work(directory / f"{n}.db", partial(_arm, n))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            return n
    raise AssertionError("unreachable")


def _arm(n: int, engine: Engine) -> None:
    """SIGKILL after the n-th statement. A cache of two pages: half the transaction is in the file by then."""
    seen = count(1)

    def small_cache(raw: object, entry: object) -> None:
        raw.execute("PRAGMA cache_size = 2")  # type: ignore[attr-defined]

    def after(*_: object) -> None:
        if next(seen) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "connect", small_cache)
    event.listen(engine, "after_cursor_execute", after)


COMMANDS: dict[str, Callable[..., None]] = {
    "open": open_store,
    "choose": choose,
    "steps": steps,
    "die": die,
    "create": create,
    "upgrade": upgrade,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
