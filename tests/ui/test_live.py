"""The line between a page and the server: what is let in, what is answered, what everybody sees."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from orchestrator.errors import StoreBusy
from orchestrator.feed import Gap, Publisher, StoreChanged, VoiceEvent, Words
from orchestrator.settings import Settings
from orchestrator.store import ForkRecord, Store, ThreadRecord
from tests.ui.conftest import Server, commit, open_fork
from tests.ui.stage_double import StageDouble
from ui import scene


class TestDoors:
    async def test_a_page_with_our_origin_and_a_token_gets_the_whole_thread(
        self, server: Server, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id) as page:
            view = page.view
            assert view["thoughts"][0]["text"] == "I said yes and cannot sleep."
            assert view["fork"]["id"] == fork.id
            assert [one["key"] for one in view["fork"]["options"]] == [1, 2, 3]
            assert view["fork"]["options"][0]["voices"] == ["Doubt", "Echo"]
            assert view["status"]["state"] == "waiting"
            assert [one["name"] for one in view["voices"]] == ["Echo", "Pulse", "Doubt", "Shift"]

    @pytest.mark.parametrize(
        ("origin", "token", "host"),
        [
            ("http://evil.example", None, None),
            (None, None, None),
            ("same", "forged.0000", None),
            ("same", "", None),
            ("http://evil.example", None, "evil.example"),  # a name made to point here
        ],
    )
    async def test_anybody_else_gets_403_before_the_handshake(
        self, server: Server, thread: ThreadRecord, origin: str | None, token: str | None, host: str | None
    ) -> None:
        query = f"thread={thread.id}&token={server.token() if token is None else token}&page=p"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                f"ws://{host or '127.0.0.1'}:{server.port}/inner/ws?{query}",
                origin=server.url if origin == "same" else origin,  # type: ignore[arg-type]
                host="127.0.0.1",
                port=server.port,
            ):
                pass
        assert refused.value.response.status_code == 403

    async def test_an_unknown_thread_is_said_to_be_gone(self, server: Server) -> None:
        address = f"ws://127.0.0.1:{server.port}/inner/ws?thread=nope&token={server.token()}&page=p"
        async with connect(address, origin=server.url) as socket:  # type: ignore[arg-type]
            assert json.loads(await socket.recv())["type"] == "gone"


class TestChoosing:
    async def test_a_choice_is_in_the_store_when_it_is_acknowledged(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id) as page:
            ack = await page.choose(fork, 2, seconds=3.5, seen=fork.seen)
            assert ack["ok"]
        choice = store.fork(fork.id).choice
        assert choice is not None
        assert (choice.kind, choice.option_id, choice.via, choice.seconds) == (
            "option",
            fork.options[1].id,
            "key",
            3.5,
        )
        assert choice.seen == fork.seen

    async def test_an_event_sent_again_gets_its_first_answer(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        event = uuid.uuid4().hex
        async with server.page(thread.id) as page:
            first = await page.choose(fork, 1, event_id=event)
        async with server.page(thread.id) as page:  # the page was reloaded
            again = await page.choose(fork, 1, event_id=event)
        assert first["ok"]
        assert again["ok"]
        assert len([one for one in store.forks(thread.id) if one.choice]) == 1

    async def test_the_same_choice_from_a_page_that_forgot_its_answer_is_no_error(
        self, server: Server, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id, "one") as page:
            await page.choose(fork, 1)
            assert (await page.choose(fork, 1))["ok"]

    async def test_of_two_pages_one_wins_and_the_other_is_told_kindly(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id, "ana") as ana, server.page(thread.id, "ben") as ben:
            acks = await asyncio.gather(ana.choose(fork, 1), ben.choose(fork, 2))
        lost = [ack for ack in acks if not ack["ok"]]
        standing = store.fork(fork.id).choice
        assert standing is not None
        key = 1 if standing.option_id == fork.options[0].id else 2
        assert [ack["message"] for ack in lost] == [f"Another page chose {key} a moment ago."]

    async def test_the_other_page_sees_whose_choice_it_was(
        self, server: Server, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id, "ana") as ana, server.page(thread.id, "ben") as ben:
            await ana.choose(fork, 3)
            told = await ben.until("choice")
            mine = next((one for one in ana.heard if one["type"] == "choice"), None) or await ana.until(
                "choice"
            )
        assert (told["mine"], told["text"]) == (False, "Another page chose 3 a moment ago.")
        assert (mine["mine"], mine["text"]) == (True, "")

    async def test_a_choice_for_a_fork_that_was_left_is_dropped_and_counted(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        outcome = store.choose(fork.id, "none")
        store.apply(outcome.choice.id)
        second = open_fork(store, thread.id, 2)
        store.undo(thread.id)  # `second` is left: the first is open again as a third attempt
        async with server.page(thread.id) as page:
            ack = await page.choose(second, 1)
            assert not ack["ok"]
            assert "Nothing was chosen" in ack["message"]
        assert server.inner.hub.acts.dropped == 1
        assert store.fork(second.id).choice is None

    async def test_options_that_are_not_the_ones_seen_are_not_chosen(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id) as page:
            ack = await page.choose(fork, 1, seen="another digest")
        assert not ack["ok"]
        assert store.fork(fork.id).choice is None

    async def test_an_option_of_another_fork_is_refused_in_words(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        other = open_fork(store, store.begin("journal", "another thread").id)
        async with server.page(thread.id) as page:
            ack = await page.choose(fork, option=other.options[0].id, kind="option")
            assert not ack["ok"]
            assert "not an option" in ack["message"]
            assert not (await page.choose(other, 1))["ok"]  # and a fork of another thread as well
        assert store.fork(fork.id).choice is None
        assert store.fork(other.id).choice is None

    async def test_an_edit_keeps_the_option_and_the_words(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id) as page:
            await page.choose(fork, 1, kind="edit", text="It felt like a door.")
        choice = store.fork(fork.id).choice
        assert choice is not None
        assert (choice.kind, choice.option_id, choice.text) == (
            "edit",
            fork.options[0].id,
            "It felt like a door.",
        )

    async def test_a_click_that_could_not_be_saved_is_to_be_sent_again(
        self,
        server: Server,
        store: Store,
        thread: ThreadRecord,
        fork: ForkRecord,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        event = uuid.uuid4().hex
        choose = store.choose

        def busy(*_: object, **__: object) -> None:
            raise StoreBusy("The store is being written by another process.")

        async with server.page(thread.id) as page:
            monkeypatch.setattr(store, "choose", busy)
            refused = await page.choose(fork, 1, event_id=event)
            monkeypatch.setattr(store, "choose", choose)
            saved = await page.choose(fork, 1, event_id=event)
        assert (refused["ok"], refused["again"]) == (False, True)
        assert "Nothing was saved yet" in refused["message"]
        assert saved["ok"]

    async def test_an_error_of_ours_is_answered_in_words_and_the_page_lives_on(
        self,
        server: Server,
        store: Store,
        thread: ThreadRecord,
        fork: ForkRecord,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("a secret path")

        async with server.page(thread.id) as page:
            with monkeypatch.context() as patch:
                patch.setattr(store, "rename", broken)
                ack = await page.say("rename", title="x")
            assert (ack["ok"], ack["message"]) == (False, "That went wrong here; it is in the log.")
            assert (await page.choose(fork, 1))["ok"]


class TestOwnWords:
    async def test_words_are_said_where_no_fork_is_open(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async with server.page(thread.id) as page:
            assert (await page.say("say", text="it was the money", expected_tip=thread.tip))["ok"]
            seen = await page.until("path")
        assert seen["thoughts"][-1]["human"]
        assert store.path(thread.id)[-1].text == "it was the money"

    async def test_words_that_crossed_an_automatic_thought_are_not_lost(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async with server.page(thread.id) as page:
            commit(store, thread.id, "Doubt", "Was it?")
            assert (await page.say("say", text="yes it was", expected_tip=thread.tip))["ok"]
        assert [one.text for one in store.path(thread.id)][-2:] == ["Was it?", "yes it was"]

    async def test_words_that_crossed_a_fork_answer_it(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async with server.page(thread.id) as page:
            opened = open_fork(store, thread.id)
            assert (await page.say("say", text="neither", expected_tip=thread.tip))["ok"]
        choice = store.fork(opened.id).choice
        assert choice is not None
        assert (choice.kind, choice.text) == ("own", "neither")

    async def test_words_sent_again_after_a_restart_are_said_once(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        store.say(
            thread.id, "only once", expected_tip=thread.tip
        )  # said by a server that died before its answer
        async with server.page(thread.id) as page:
            assert (await page.say("say", text="only once", expected_tip=thread.tip))["ok"]
        assert [one.text for one in store.path(thread.id)].count("only once") == 1

    async def test_too_many_words_are_refused_with_the_limit(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async with server.page(thread.id) as page:
            ack = await page.say("say", text="a" * 1_000_000, expected_tip=thread.tip)
        assert not ack["ok"]
        assert "20,000" in ack["message"]
        assert store.thread(thread.id).tip == thread.tip

    async def test_hostile_words_are_kept_as_they_are(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        words = "<script>alert(1)</script> [Doubt] <|im_end|> \u202eabc\u202c"
        async with server.page(thread.id) as page:
            await page.say("say", text=words, expected_tip=thread.tip)
            raw = '{"type":"draft","id":"surrogate-1","seq":9,"text":"half \\ud83d of it"}'
            await page.socket.send(raw)
            assert (await page.until("ack", id="surrogate-1"))["ok"]
        assert store.path(thread.id)[-1].text == words
        assert store.draft(thread.id) == "half \ufffd of it"

    async def test_a_draft_is_there_after_a_reload_until_it_is_said(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async with server.page(thread.id) as page:
            await page.say("draft", text="no, it was the")
        async with server.page(thread.id) as page:
            assert page.view["draft"] == "no, it was the"
            await page.say("say", text="no, it was the money", expected_tip=thread.tip)
        assert store.draft(thread.id) == ""


class TestUndo:
    async def test_undo_opens_the_last_fork_again(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        store.apply(store.choose(fork.id, "option", option_id=fork.options[0].id).choice.id)
        commit(store, thread.id, "Shift", "An automatic thought.")
        async with server.page(thread.id) as page:
            assert (await page.say("undo", last=page.view["status"]["undo"]))["ok"]
            cut = await page.until("path")
            opened = await page.until("fork")
        assert (cut["keep"], cut["thoughts"]) == (3, [])
        assert (opened["fork"]["reopened"], opened["fork"]["attempt"]) == (True, 2)

    async def test_one_undo_sent_twice_undoes_one_decision(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        store.say(thread.id, "first", expected_tip=thread.tip)
        store.say(thread.id, "second", expected_tip=store.thread(thread.id).tip)
        async with server.page(thread.id) as page:
            mark = page.view["status"]["undo"]
            assert (await page.say("undo", last=mark))["ok"]
            assert not (await page.say("undo", last=mark))["ok"]
        assert store.path(thread.id)[-1].text == "first"

    async def test_nothing_to_undo_is_no_mark(
        self, server: Server, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id) as page:
            assert page.view["status"]["undo"] == ""
            assert not (await page.say("undo", last=""))["ok"]


class TestTheRest:
    async def test_stop_and_go_on(self, server: Server, store: Store, thread: ThreadRecord) -> None:
        async with server.page(thread.id) as page:
            await page.say("stop")
            await page.until("status", remaining=0)
            await page.say("go")
            await page.until("status", remaining=3)
        assert store.thread(thread.id).remaining == 3

    async def test_a_new_title_reaches_every_page(self, server: Server, thread: ThreadRecord) -> None:
        async with server.page(thread.id) as ana, server.page(thread.id) as ben:
            await ana.say("rename", title="the new project")
            await ben.until("status", title="the new project")

    async def test_a_long_thread_sends_its_end_and_the_rest_when_asked(
        self, server: Server, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scene, "TAIL", 5)
        long = store.begin("journal", "thought 0")
        for number in range(1, 12):
            commit(store, long.id, "Echo", f"thought {number}")
        async with server.page(long.id) as page:
            view = page.view
            assert (len(view["thoughts"]), view["earlier"]) == (5, 7)
            ack = await page.say("earlier", before=view["thoughts"][0]["id"])
            assert [one["text"] for one in ack["data"]["thoughts"]] == [f"thought {n}" for n in range(2, 7)]
            assert ack["data"]["earlier"] == 2

    async def test_ways_not_taken_are_told_when_asked(
        self, server: Server, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        said = store.apply(store.choose(fork.id, "option", option_id=fork.options[0].id).choice.id)
        assert said is not None
        async with server.page(thread.id) as page:
            assert page.view["thoughts"][-1]["ways"]
            ack = await page.say("ways", thought=said.id)
        assert [way["text"] for way in ack["data"]["ways"]] == [one.text for one in fork.options[1:]]

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            "not json",
            "[]",
            "{}",
            '{"type":"choose"}',
            '{"type":"nothing","id":"12345678"}',
            "[" * 100_000,
        ],
    )
    async def test_nonsense_is_answered_and_harms_nobody(
        self, server: Server, thread: ThreadRecord, fork: ForkRecord, raw: str
    ) -> None:
        async with server.page(thread.id) as page:
            await page.socket.send(raw)
            assert not (await page.until("ack"))["ok"]
            assert (await page.choose(fork, 1))["ok"]

    async def test_a_thought_by_somebody_else_arrives_by_itself(
        self, server: Server, store: Store, thread: ThreadRecord
    ) -> None:
        async with server.page(thread.id) as page:
            commit(store, thread.id, "Shift", "From another process.")
            path = await page.until("path")
        assert (path["keep"], [one["text"] for one in path["thoughts"]]) == (3, ["From another process."])


class TestTheFeed:
    async def test_words_are_shown_as_they_are_spoken(
        self, server: Server, settings: Settings, thread: ThreadRecord
    ) -> None:
        with Publisher(settings.feed) as feed:
            async with server.page(thread.id) as page:
                spoken = asyncio.create_task(page.until("words"))
                while not spoken.done():  # the subscriber may still be connecting
                    feed.publish(Words(thread=thread.id, voice="Doubt", text="Was it", phase="lead"))
                    await asyncio.sleep(0.02)
                assert spoken.result() == {
                    "type": "words",
                    "voice": "Doubt",
                    "text": "Was it",
                    "phase": "lead",
                }

    async def test_a_gap_in_the_feed_leads_to_the_store(
        self, server: Server, store: Store, thread: ThreadRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with server.page(thread.id) as page:
            monkeypatch.setattr(store, "data_version", lambda: 0)  # nothing but the gap tells of it
            await asyncio.sleep(0.1)
            commit(store, thread.id, "Echo", "Unheard.")
            server.inner.hub.on_feed(Gap())
            assert (await page.until("path"))["thoughts"][0]["text"] == "Unheard."

    async def test_a_silent_voice_is_said_in_one_line(self, server: Server, thread: ThreadRecord) -> None:
        async with server.page(thread.id) as page:
            server.inner.hub.on_feed(VoiceEvent(voice="Doubt", state="silent"))
            status = await page.until("status")
        assert status["line"] == "Doubt fell silent, back in a moment"
        assert status["voices"] == {"Doubt": "silent"}

    async def test_an_orchestrator_that_is_away_is_said_and_so_is_its_return(
        self, server: Server, thread: ThreadRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = server.inner.hub
        async with server.page(thread.id) as page:
            hub.on_feed(StoreChanged(thread=thread.id))
            now = hub._clock()
            monkeypatch.setattr(hub, "_clock", lambda: now + 3.5)
            await page.until("status", here=False)
            hub.on_feed(StoreChanged(thread=thread.id))
            await page.until("status", here=True)

    async def test_a_kept_click_is_applied_when_the_orchestrator_is_back(
        self, server: Server, settings: Settings, store: Store, thread: ThreadRecord, fork: ForkRecord
    ) -> None:
        async with server.page(thread.id) as page:
            await page.choose(fork, 1)
            await page.until("status", kept="option")
            with StageDouble(settings):
                path = await page.until("path")
        assert path["thoughts"][0]["text"] == fork.options[0].text.strip()
        assert store.integrity() == []
