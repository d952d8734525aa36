"""Who is here: hello, names, epochs, silence, death, and the ladder for a voice that hangs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orchestrator import presence
from orchestrator.errors import AlreadyRunning, BadSetting
from tests.bus.tools import Events, Peer, ask, hub_at, sleeping, soon, until
from voices import wire


class TestHello:
    async def test_a_voice_that_says_hello_is_welcome_and_known(self, run_dir: Path) -> None:
        events = Events()
        async with hub_at(run_dir, on_voice=events) as hub:
            with Peer(hub.endpoint) as peer:
                welcome = await peer.hello("Echo", slots=3, capabilities={"modes": ["journal"]})
                assert welcome.epoch == hub.epoch
                voice = hub.voices["Echo"]
                assert (voice.state, voice.slots, voice.modes) == ("ready", 3, ("journal",))
                assert events.states("Echo") == ["ready"]

    async def test_a_second_voice_of_a_name_is_refused_and_the_first_stays(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as first, Peer(hub.endpoint) as second:
                await first.hello("Echo")
                await second.say(wire.Hello(voice="Echo", session="another"))
                assert (await second.hear(wire.Refused)).reason == "name_taken"
                answer = ask(hub)
                await first.say(first.proposal(await first.hear(wire.Ask), "I am the first."))
                assert isinstance(final := await soon(answer), wire.Proposal)
                assert final.text == "I am the first."

    async def test_the_same_process_on_a_new_connection_goes_on_under_its_name(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as old, Peer(hub.endpoint) as new:
                await old.hello("Echo")
                lost = ask(hub)
                await old.hear(wire.Ask)
                new.session = old.session
                await new.hello("Echo")
                assert isinstance(final := await soon(lost), wire.Declined)
                assert (final.code, final.retryable) == ("gone", True)
                answer = ask(hub)
                await new.say(new.proposal(await new.hear(wire.Ask)))
                assert isinstance(await soon(answer), wire.Proposal)

    @pytest.mark.parametrize(
        ("hello", "reason"),
        [
            ({"voice": "Echo", "protocol": "ID/2"}, "protocol"),
            ({"voice": "[Echo]"}, "bad_name"),
            ({"voice": ""}, "bad_name"),
            ({"voice": "x" * 500}, "bad_name"),
        ],
    )
    async def test_a_hello_that_cannot_be_is_refused_with_a_hint(
        self, run_dir: Path, hello: dict[str, str], reason: str
    ) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.say(wire.Hello(session="s", **hello))
                refused = await peer.hear(wire.Refused)
                assert refused.reason == reason
                assert refused.hint
                assert hub.voices == {}

    async def test_one_connection_speaks_for_one_voice(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello("Echo")
                await peer.say(wire.Hello(voice="Doubt", session=peer.session))
                assert (await peer.hear(wire.Refused)).reason == "one_voice"


class TestEpochs:
    async def test_a_stranger_with_news_of_an_old_epoch_is_asked_who_it_is(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                old = wire.Proposal(epoch="yesterday", request="r", seq=1, text="late", finish="end")
                await peer.say(old)
                await peer.hear(wire.Who)
                assert hub.counters["old_epoch"] == 1
                await peer.hello("Echo")
                assert hub.voices["Echo"].state == "ready"

    async def test_an_answer_of_an_old_epoch_is_dropped_even_from_a_voice_that_is_here(
        self, run_dir: Path
    ) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello("Echo")
                answer = ask(hub)
                asked = await peer.hear(wire.Ask)
                await peer.say(peer.proposal(asked, "old", epoch="yesterday"))
                await peer.say(peer.proposal(asked, "new"))
                assert isinstance(final := await soon(answer), wire.Proposal)
                assert final.text == "new"
                assert hub.counters["old_epoch"] == 1


class TestSilence:
    async def test_a_voice_without_pongs_is_silent_and_its_asks_are_declined(self, run_dir: Path) -> None:
        events = Events()
        async with hub_at(run_dir, on_voice=events, ping_ms=20) as hub:
            with Peer(hub.endpoint, pongs=False) as peer:
                await peer.hello("Echo")
                final = await soon(ask(hub))
                assert isinstance(final, wire.Declined)
                assert (final.code, final.retryable) == ("stalled", True)
                assert "silent" in events.states("Echo")
                again = await soon(ask(hub))
                assert isinstance(again, wire.Declined)
                assert again.code == "stalled"

    async def test_a_sign_of_life_brings_it_back(self, run_dir: Path) -> None:
        events = Events()
        async with hub_at(run_dir, on_voice=events, ping_ms=20) as hub:
            with Peer(hub.endpoint, pongs=False) as peer:
                await peer.hello("Echo")
                await until(lambda: hub.voices["Echo"].state == "silent")
                await peer.say(wire.Pong(n=1))
                await until(lambda: "back" in events.states("Echo"))

    async def test_a_silent_voice_that_is_no_process_here_is_given_up(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence, "RUNG_S", 0.1)
        async with hub_at(run_dir, ping_ms=20) as hub:
            with Peer(hub.endpoint, pongs=False) as peer:
                await peer.hello("Echo")
                await until(lambda: hub.voices["Echo"].state == "gone")

    async def test_pongs_keep_it(self, run_dir: Path) -> None:
        events = Events()
        async with hub_at(run_dir, on_voice=events) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello("Echo")
                for _ in range(6):
                    await peer.hear(wire.Ping)
                assert events.states("Echo") == ["ready"]

    async def test_goodbye_is_heard(self, run_dir: Path) -> None:
        events = Events()
        async with hub_at(run_dir, on_voice=events) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello("Echo")
                await peer.say(wire.Bye(reason="enough"))
                await until(lambda: "gone" in events.states("Echo"))
                assert hub.voices["Echo"].detail == "said bye: enough"


class TestDeath:
    async def test_the_end_of_its_process_is_the_end_of_a_voice(self, run_dir: Path) -> None:
        events = Events()
        with sleeping() as process:
            async with hub_at(run_dir, on_voice=events) as hub:
                with Peer(hub.endpoint) as peer:
                    await peer.hello("Echo", pid=process.pid)
                    answer = ask(hub)
                    await peer.hear(wire.Ask)
                    process.kill()
                    final = await soon(answer)
                    assert isinstance(final, wire.Declined)
                    assert (final.code, final.retryable) == ("gone", True)
                    assert events[-1] == ("Echo", "gone", "the process ended")

    async def test_a_respawned_voice_gets_the_name_of_the_dead_one(self, run_dir: Path) -> None:
        with sleeping() as process:
            async with hub_at(run_dir) as hub:
                with Peer(hub.endpoint) as old, Peer(hub.endpoint) as new:
                    await old.hello("Echo", pid=process.pid)
                    process.kill()
                    process.wait()
                    await new.hello("Echo")
                    assert hub.voices["Echo"].state == "ready"

    async def test_a_hung_process_of_ours_is_ended(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence, "RUNG_S", 0.1)
        async with hub_at(run_dir, ping_ms=20) as hub:
            with sleeping(INNER_HUB=hub.endpoint) as process, Peer(hub.endpoint, pongs=False) as peer:
                os.kill(process.pid, signal.SIGSTOP)  # SIGTERM has to wait; only SIGKILL ends it
                await peer.hello("Echo", pid=process.pid)
                await until(lambda: hub.voices["Echo"].state == "gone")
                assert process.wait() == -signal.SIGKILL

    async def test_a_process_that_was_not_started_for_this_hub_is_never_signalled(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence, "RUNG_S", 0.05)
        async with hub_at(run_dir, ping_ms=20) as hub:
            with sleeping() as process, Peer(hub.endpoint, pongs=False) as peer:
                await peer.hello("Echo", pid=process.pid)
                lease = hub._presence.leases["Echo"]
                await until(lambda: lease.ladder == 2)
                assert process.poll() is None
                assert hub.voices["Echo"].state == "silent"


class TestTheRunDirectory:
    async def test_a_second_hub_in_it_is_told_who_holds_it(self, run_dir: Path) -> None:
        async with hub_at(run_dir):
            with pytest.raises(AlreadyRunning, match=str(os.getpid())):
                async with hub_at(run_dir):
                    pass

    async def test_a_socket_left_behind_does_not_hinder(self, run_dir: Path) -> None:
        (run_dir / "hub.sock").touch()
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello("Echo")
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello("Echo")

    async def test_tcp_is_refused_since_anybody_could_join(self, run_dir: Path) -> None:
        from orchestrator.bus import Hub

        hub = Hub("tcp://127.0.0.1:5555", run_dir)
        with pytest.raises(BadSetting, match="tcp://"):
            await hub.start()
        await hub.stop()

    async def test_a_path_that_cannot_be_bound_is_a_plain_error(self, run_dir: Path) -> None:
        from orchestrator.bus import Hub

        hub = Hub(f"ipc://{run_dir / ('x' * 200)}", run_dir)
        with pytest.raises(BadSetting, match="cannot be bound"):
            await hub.start()
