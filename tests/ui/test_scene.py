"""A scene that was advanced step by step is the scene that is read anew."""

from __future__ import annotations

import random

import pytest

from orchestrator.errors import NothingToUndo
from orchestrator.store import Store
from tests.ui.conftest import commit, open_fork
from ui import scene
from ui.hub import QUEUE, Client
from ui.scene import Scene, advance, read_scene


def shown(one: Scene) -> tuple[object, ...]:
    """What a page can see of it."""
    fork = one.fork and one.fork.id
    kept = one.kept and one.kept.choice.id
    return one.record, one.tail[-2:], one.asked, one.steps, one.undo, fork, kept


def act(store: Store, thread: str, number: int, chance: random.Random) -> None:
    """One thing that may happen to a thread."""
    fork = store.open_fork(thread)
    kind = chance.choice(["thought", "thought", "fork", "option", "none", "own", "say", "undo", "stop"])
    if kind == "undo":
        try:
            store.undo(thread)
        except NothingToUndo:
            return
    elif kind == "stop":
        store.set_remaining(thread, number % 3)
    elif fork is None and kind == "thought":
        commit(store, thread, "Echo", f"thought {number}")
    elif fork is None and kind == "fork":
        open_fork(store, thread)
    elif fork is None and kind == "say":
        store.say(thread, f"words {number}", expected_tip=store.thread(thread).tip)
    elif fork is not None and kind in ("option", "none", "own"):
        option = fork.options[0].id if kind == "option" else None
        text = f"own {number}" if kind == "own" else None
        made = store.choose(fork.id, kind, option_id=option, text=text, via="key")  # type: ignore[arg-type]
        if chance.random() < 0.7:
            store.apply(made.choice.id)
        if kind == "none":
            open_fork(store, thread)


@pytest.mark.parametrize("seed", range(4))
def test_advancing_and_reading_lead_to_the_same_scene(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene, "TAIL", 4)
    chance = random.Random(seed)
    thread = store.begin("journal", "an opening").id
    now = read_scene(store, thread)
    for number in range(40):
        for pending in store.pending():
            store.apply(pending.choice.id)
        act(store, thread, number, chance)
        if chance.random() < 0.7:  # a page may miss some of it
            now, _ = advance(store, now)
            assert shown(now) == shown(read_scene(store, thread))


def test_what_changed_is_what_leads_from_the_old_path_to_the_new(store: Store) -> None:
    thread = store.begin("journal", "an opening").id
    commit(store, thread, "Echo", "one")
    store.say(thread, "two", expected_tip=store.thread(thread).tip)
    old = read_scene(store, thread)
    store.undo(thread)
    commit(store, thread, "Pulse", "another two")
    new, change = advance(store, old)
    assert change.keep == 2
    assert [one.text for one in change.thoughts] == ["another two"]
    assert [one.text for one in new.tail] == ["an opening", "one", "another two"]


class TestOutbox:
    async def test_a_page_that_falls_behind_gets_a_fresh_view_instead(self) -> None:
        client, caught_up, sent = Client("p", "t"), [], []
        for number in range(QUEUE + 2):
            client.send({"type": "note", "text": str(number)})

        class Full(Exception):
            pass

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        def catch_up() -> None:
            caught_up.append(True)
            raise Full

        with pytest.raises(Full):
            await client.pump(send, catch_up)
        assert caught_up == [True]
        assert len(sent) <= 2

    async def test_live_words_replace_each_other_and_end_with_the_thought(self) -> None:
        client, sent = Client("p", "t"), []
        for text in ("Was", "Was it", "Was it the"):
            client.send({"type": "words", "voice": "Doubt", "text": text, "phase": "lead"})
        client.send({"type": "words", "voice": "Echo", "text": "You", "phase": "fork"})

        class Enough(Exception):
            pass

        async def send(message: dict[str, object]) -> None:
            sent.append(message)
            if message["type"] == "words" and len(sent) == 2:
                client.send({"type": "words", "voice": "Pulse", "text": "void", "phase": "fork"})
                client.send({"type": "path", "keep": 1, "thoughts": []})
            if message["type"] == "path":
                raise Enough

        with pytest.raises(Enough):
            await client.pump(send, lambda: None)
        assert [one.get("text") for one in sent] == ["Was it the", "You", None]
