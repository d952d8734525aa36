"""The whole program in a real browser, with the real model: a journal entry from the first words to the store."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.browser.conftest import Visit, begin, calm, fork, free_port
from tests.home import Home

OPENING = "I said yes to the new project and now I cannot sleep."
OWN = "No, it was the money, and I knew it."


@pytest.fixture
def url(home: Home) -> Iterator[str]:
    """`inner run`, asking whenever it forks."""
    port = free_port()
    program = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "orchestrator.cli",
            "run",
            "--no-browser",
            "--port",
            str(port),
            "--budget",
            "1",
        ],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert program.stdout is not None
    lines = []
    for line in program.stdout:
        lines.append(line)
        if line.startswith("ready: "):
            break
    else:
        pytest.fail("".join(lines))
    yield line.split()[1]
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=20)
    assert program.returncode == 0


def test_a_journal_entry_from_the_first_words_to_the_store(home: Home, url: str, visit: Visit) -> None:
    page = visit(url)
    thread = begin(page, OPENING)

    # a fork: its reason, its options; one key takes the second
    section = fork(page)
    options = section.locator(".options > li")
    assert options.count() >= 2
    with home.store() as store:
        first = store.open_fork(thread)
        assert first is not None
    second = next(option for option in first.shown if option.key == 2)
    assert first.reason in section.inner_text()
    page.keyboard.press("2")
    page.locator(".thoughts").get_by_text(second.text, exact=False).first.wait_for()

    # own words at the next one, begun by a letter
    fork(page)
    calm(page)
    page.keyboard.type(OWN)
    page.keyboard.press("Enter")
    page.locator(".thoughts").get_by_text(OWN).wait_for()

    # undo: my own words stand down, the fork they answered is open again with the same options
    fork(page)
    calm(page)
    page.keyboard.press("z")
    page.locator(".thoughts").get_by_text(OWN).wait_for(state="detached")
    reopened = fork(page)
    with home.store() as store:
        again = store.open_fork(thread)
        assert again is not None
        assert again.reopens is not None
        texts = [option.text for option in again.shown]
        assert [option.text for option in store.fork(again.reopens).shown] == texts

    # reload: everything stands where it stood
    page.reload()
    reopened = fork(page)
    assert reopened.locator(".options > li").count() == len(texts)
    assert page.locator(".thoughts").get_by_text(second.text, exact=False).count() >= 1

    # and the store has all of it
    with home.store() as store:
        path = store.path(thread)
        assert path[0].text == OPENING
        assert path[-1].id == again.thought_id
        (chosen,) = (thought for thought in path if thought.via == "key")
        assert chosen.text == second.text
        assert chosen.author == second.voices[0]
        assert any(thought.text == OWN and thought.human for thought in store.tree(thread))
        mine = [f.choice for f in store.forks(thread) if f.choice and f.choice.via != "auto"]
        assert [(choice.kind, choice.via) for choice in mine] == [("option", "key"), ("own", "text")]
        assert store.integrity() == []
