"""Asking: exactly one answer for every ask, whatever the voice does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.bus.tools import Events, Peer, ask, hub_at, soon, until
from voices import wire


def code(final: object) -> str:
    assert isinstance(final, wire.Declined), final
    return final.code


class TestAnswers:
    async def test_partials_then_the_proposal(self, run_dir: Path) -> None:
        heard: list[str] = []
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, on_partial=lambda partial: heard.append(partial.text), seed=7)
                asked = await peer.hear(wire.Ask)
                assert (asked.seed, asked.epoch) == (7, hub.epoch)
                assert 0 < asked.budget_ms <= 60_000
                await until(lambda: hub.voices["Echo"].state == "speaking")
                for seq, text in enumerate(["It", "It is", "It is so."], start=1):
                    await peer.say(peer.partial(asked, seq, text))
                await peer.say(peer.proposal(asked, "It is so."))
                final = await soon(answer)
                assert isinstance(final, wire.Proposal)
                assert (final.text, heard) == ("It is so.", ["It", "It is", "It is so."])
                assert hub.voices["Echo"].state == "ready"

    async def test_a_declined_is_handed_on_as_it_is(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub)
                asked = await peer.hear(wire.Ask)
                declined = wire.Declined(
                    epoch=asked.epoch, request=asked.request, seq=1, code="engine_lost", retryable=True
                )
                await peer.say(declined)
                assert await soon(answer) == declined

    async def test_older_and_repeated_partials_are_ignored_and_gaps_are_counted(self, run_dir: Path) -> None:
        heard: list[int] = []
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, on_partial=lambda partial: heard.append(partial.seq))
                asked = await peer.hear(wire.Ask)
                for seq in (1, 5, 3, 5, 6):
                    await peer.say(peer.partial(asked, seq, "x"))
                await peer.say(peer.proposal(asked))
                await soon(answer)
                assert heard == [1, 5, 6]
                assert (hub.counters["out_of_order"], hub.counters["gap"]) == (2, 1)

    async def test_the_first_final_wins_and_nothing_comes_after_it(self, run_dir: Path) -> None:
        heard: list[str] = []
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, on_partial=lambda partial: heard.append(partial.text))
                asked = await peer.hear(wire.Ask)
                await peer.say(peer.proposal(asked, "first"))
                await peer.say(peer.proposal(asked, "second"))
                await peer.say(peer.partial(asked, 10, "after"))
                await until(lambda: hub.counters["late"] == 1)
                final = await soon(answer)
                assert isinstance(final, wire.Proposal)
                assert (final.text, heard, hub.counters["duplicate"]) == ("first", [], 1)

    async def test_an_answer_nobody_asked_for_is_counted_and_dropped(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as echo, Peer(hub.endpoint) as doubt:
                await echo.hello("Echo")
                await doubt.hello("Doubt")
                answer = ask(hub, "Echo")
                asked = await echo.hear(wire.Ask)
                await doubt.say(doubt.proposal(asked, "I speak for Echo"))
                await until(lambda: hub.counters["unknown_request"] == 1)
                await echo.say(echo.proposal(asked, "I speak for myself"))
                assert isinstance(final := await soon(answer), wire.Proposal)
                assert final.text == "I speak for myself"

    async def test_a_callback_that_raises_harms_nobody(self, run_dir: Path) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("a fault in a page")

        async with hub_at(run_dir, on_voice=fail) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, on_partial=fail)
                asked = await peer.hear(wire.Ask)
                await peer.say(peer.partial(asked, 1, "x"))
                await peer.say(peer.proposal(asked))
                assert isinstance(await soon(answer), wire.Proposal)
                assert hub.counters["error"] >= 2


class TestWhenItDoesNotCome:
    async def test_a_voice_that_is_not_here_declines_at_once(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            assert code(await soon(ask(hub, "Nobody"))) == "gone"

    async def test_the_budget_ends_an_ask_and_its_late_words_are_told_apart(self, run_dir: Path) -> None:
        late: list[str] = []
        async with hub_at(run_dir, on_late=lambda proposal: late.append(proposal.text)) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, budget_ms=50)
                asked = await peer.hear(wire.Ask)
                assert code(await soon(answer)) == "budget"
                assert (await peer.hear(wire.Cancel)).request == asked.request
                await peer.say(peer.proposal(asked, "at last"))
                await until(lambda: late)
                await peer.say(peer.proposal(asked, "once more"))
                await until(lambda: hub.counters["duplicate"] == 1)
                assert (late, hub.counters["late"]) == (["at last"], 1)

    async def test_cancel_answers_at_once_and_tells_the_voice(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, request="r1")
                await peer.hear(wire.Ask)
                hub.cancel("r1")
                hub.cancel("r1")
                hub.cancel("unheard of")
                assert code(await soon(answer)) == "cancelled"
                assert (await peer.hear(wire.Cancel)).request == "r1"

    async def test_cancelling_the_waiting_task_tells_the_voice(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                answer = ask(hub, request="r1")
                await peer.hear(wire.Ask)
                answer.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await answer
                assert (await peer.hear(wire.Cancel)).request == "r1"

    async def test_a_frozen_token_counter_is_a_stall_and_a_slow_prefill_is_none(self, run_dir: Path) -> None:
        async with hub_at(run_dir, ping_ms=100, stall_ms=200) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                stuck, slow = ask(hub, request="stuck"), ask(hub, request="slow")
                await peer.hear(wire.Ask)
                asked = await peer.hear(wire.Ask)
                peer.busy = (
                    wire.Busy(request="stuck", steps=3, phase="speaking"),
                    wire.Busy(request="slow", steps=0, phase="prefill"),
                )
                cancel = await peer.hear(wire.Cancel)
                assert cancel.request == "stuck"
                assert code(await soon(stuck)) == "stalled"
                await peer.say(peer.proposal(asked))
                assert isinstance(await soon(slow), wire.Proposal)

    async def test_a_stopping_hub_answers_everybody_and_says_bye(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            peer = Peer(hub.endpoint)
            await peer.hello()
            answer = ask(hub)
            await peer.hear(wire.Ask)
        with peer:
            assert code(await soon(answer)) == "gone"
            await peer.hear(wire.Bye)

    async def test_a_context_too_large_to_send_is_declined(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                turn = wire.Turn(author="Me", text="a" * wire.MAX_BYTES, human=True)
                assert code(await soon(ask(hub, context=(turn,)))) == "too_large"


class TestCredits:
    async def test_no_more_asks_are_out_than_the_voice_has_slots_and_the_urgent_go_first(
        self, run_dir: Path
    ) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello(slots=1)
                answers = [
                    ask(hub, request="first"),
                    ask(hub, request="later", priority=3),
                    ask(hub, request="sooner", priority=0),
                ]
                order = []
                for _ in answers:
                    asked = await peer.hear(wire.Ask)
                    assert len(hub._presence.leases["Echo"].requests) == 1
                    order.append(asked.request)
                    await peer.say(peer.proposal(asked))
                await asyncio.gather(*map(soon, answers))
                assert order == ["first", "sooner", "later"]

    async def test_without_a_free_slot_within_the_budget_the_voice_is_busy(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello(slots=1)
                first = ask(hub)
                asked = await peer.hear(wire.Ask)
                assert code(await soon(ask(hub, budget_ms=20))) == "busy"
                await peer.say(peer.proposal(asked))
                assert isinstance(await soon(first), wire.Proposal)

    async def test_a_cancelled_ask_holds_its_slot_until_the_voice_confirms(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello(slots=1)
                first, second = ask(hub, request="r1"), ask(hub, request="r2")
                asked = await peer.hear(wire.Ask)
                hub.cancel("r1")
                assert code(await soon(first)) == "cancelled"
                assert list(hub._presence.leases["Echo"].requests) == ["r1"]
                confirmed = wire.Declined(epoch=asked.epoch, request="r1", seq=1, code="cancelled")
                await peer.say(confirmed)
                asked = await peer.hear(wire.Ask)
                await peer.say(peer.proposal(asked))
                assert isinstance(await soon(second), wire.Proposal)

    async def test_an_ask_taken_back_while_it_waits_is_never_sent(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello(slots=1)
                answers = [ask(hub, request=name) for name in ("r1", "r2", "r3")]
                asked = await peer.hear(wire.Ask)
                hub.cancel("r2")
                assert code(await soon(answers[1])) == "cancelled"
                await peer.say(peer.proposal(asked))
                assert (await peer.hear(wire.Ask)).request == "r3"

    async def test_a_voice_that_does_not_read_is_busy_and_the_others_are_unharmed(
        self, run_dir: Path
    ) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as deaf, Peer(hub.endpoint) as healthy:
                await deaf.hello("Doubt")
                await healthy.hello("Echo")
                identity = hub._presence.leases["Doubt"].identity
                while hub.send(identity, wire.Who(reason="x" * 100_000)) == "sent":
                    pass
                assert code(await soon(ask(hub, "Doubt"))) == "busy"
                answer = ask(hub, "Echo")
                await healthy.say(healthy.proposal(await healthy.hear(wire.Ask)))
                assert isinstance(await soon(answer), wire.Proposal)


async def test_states_are_told_in_order(run_dir: Path) -> None:
    events = Events()
    async with hub_at(run_dir, on_voice=events) as hub:
        with Peer(hub.endpoint) as peer:
            await peer.hello()
            answer = ask(hub)
            await peer.say(peer.proposal(await peer.hear(wire.Ask)))
            await soon(answer)
    assert events.course("Echo") == ["ready", "speaking", "ready", "gone"]
