"""Frames that are no messages: the pump never stops, the sender is refused, the others are unharmed."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bus import STRIKES, Hub
from tests.bus.tools import Peer, ask, hub_at, soon, until
from voices import wire

NASTY = [
    [],
    [b""],
    [wire.TAG],
    [wire.TAG, b""],
    [wire.TAG, b"{}", b"{}"],
    [wire.TAG, b"\xff\xfe"],
    [wire.TAG, b"[" * 100_000],
    [wire.TAG, b'{"type":"pong","n":NaN}'],
    [wire.TAG, b'{"type":"hello","voice":["Echo"],"session":1}'],
    [wire.TAG, b'{"type":"hello","voice":"\\ud800","session":"s"}'],
    [b"EN1", b'{"type":"ping","n":1}'],
    [wire.TAG] * 5000,
]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=5), leaves, max_size=3)
kinds = st.sampled_from(["hello", "pong", "partial", "proposal", "declined", "bye", "ask", "welcome", "?"])
names = st.sampled_from(["voice", "session", "epoch", "request", "seq", "text", "finish", "n", "busy", "x"])
bodies = st.builds(
    lambda kind, more: {**more, "type": kind}, kinds, st.dictionaries(names, values, max_size=6)
)


class TestDecoding:
    @given(st.lists(st.binary(max_size=200), max_size=4))
    @settings(deadline=None)
    def test_any_frames_are_a_message_or_a_wire_error(self, frames: list[bytes]) -> None:
        try:
            wire.decode(frames)
        except wire.WireError:
            return
        pytest.fail("random bytes were a message")

    @given(bodies)
    @settings(deadline=None, max_examples=60)
    def test_any_json_is_a_message_or_a_wire_error(self, body: dict[str, object]) -> None:
        try:
            message = wire.decode([wire.TAG, json.dumps(body).encode()])
        except wire.WireError:
            return
        assert wire.decode(wire.encode(message)) == message

    @pytest.mark.parametrize("frames", NASTY, ids=range(len(NASTY)))
    def test_nasty_frames_are_wire_errors(self, frames: list[bytes]) -> None:
        with pytest.raises(wire.WireError):
            wire.decode(frames)

    def test_unknown_fields_are_tolerated(self) -> None:
        assert wire.decode([wire.TAG, b'{"type":"ping","n":1,"mood":"good"}']) == wire.Ping(n=1)

    def test_what_cannot_be_sent_is_an_error_before_it_is_sent(self) -> None:
        with pytest.raises(wire.WireError, match="bye"):
            wire.encode(wire.Bye(reason="\ud800"))
        with pytest.raises(wire.WireError, match="limit"):
            wire.encode(wire.Bye(reason="x" * wire.MAX_BYTES))


@given(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=5), st.lists(st.binary(max_size=20), max_size=3) | bodies),
        max_size=12,
    )
)
@settings(deadline=None, max_examples=30)
def test_no_frame_ever_raises_in_the_hub(frames: list[tuple[bytes, list[bytes] | dict[str, object]]]) -> None:
    import asyncio
    import tempfile

    async def feed() -> None:
        with tempfile.TemporaryDirectory(prefix="id-") as folder:
            async with hub_at(Path(folder)) as hub:
                for identity, body in frames:
                    parts = body if isinstance(body, list) else [wire.TAG, json.dumps(body).encode()]
                    hub._on_frames(identity, parts)

    asyncio.run(feed())


class TestThroughTheSocket:
    async def test_poison_is_counted_and_others_are_served(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as healthy:
                await healthy.hello()
                for frames in NASTY[1:]:
                    with Peer(hub.endpoint) as poisoner:
                        await poisoner.say_frames(*frames)
                        seen = hub.counters["poison"] + 1
                        await until(lambda: hub.counters["poison"] >= seen)  # noqa: B023
                await _is_served(hub, healthy)

    async def test_after_some_strikes_a_peer_is_refused_and_not_heard_any_more(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as poisoner, Peer(hub.endpoint) as healthy:
                await healthy.hello("Doubt")
                await poisoner.hello("Echo")
                for _ in range(STRIKES):
                    await poisoner.say_frames(b"ID1", b"?")
                assert (await poisoner.hear(wire.Refused)).reason == "poison"
                assert hub.voices["Echo"].state == "gone"
                await poisoner.say(wire.Hello(voice="Echo", session="again"))
                await until(lambda: hub.counters["deaf"] == 1)
                await _is_served(hub, healthy, "Doubt")

    async def test_an_unknown_type_is_no_strike(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as peer:
                await peer.hello()
                for _ in range(2 * STRIKES):
                    await peer.say_frames(wire.TAG, b'{"type":"song"}')
                await until(lambda: hub.counters["unknown_type"] == 2 * STRIKES)
                await _is_served(hub, peer)

    async def test_raw_garbage_on_the_socket_harms_nobody(self, run_dir: Path) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as healthy:
                await healthy.hello()
                for _ in range(20):
                    with socket.socket(socket.AF_UNIX) as stranger:
                        stranger.connect(hub.endpoint.removeprefix("ipc://"))
                        stranger.settimeout(1)
                        try:
                            stranger.sendall(os.urandom(4096))
                        except OSError:
                            continue  # libzmq hung up on it: as good
                await _is_served(hub, healthy)
                assert list(hub.voices) == ["Echo"]

    async def test_an_oversized_frame_costs_its_sender_the_connection_and_no_more(
        self, run_dir: Path
    ) -> None:
        async with hub_at(run_dir) as hub:
            with Peer(hub.endpoint) as giant, Peer(hub.endpoint) as healthy:
                await healthy.hello("Doubt")
                await giant.hello("Echo")
                await giant.say_frames(wire.TAG, b"x" * (wire.MAX_BYTES + 1))
                await until(lambda: hub.voices["Echo"].state == "gone")
                await giant.hello("Echo")  # libzmq connected again, under a new identity
                await _is_served(hub, giant, "Echo")
                await _is_served(hub, healthy, "Doubt")


async def _is_served(hub: Hub, peer: Peer, name: str = "Echo") -> None:
    answer = ask(hub, name)
    await peer.say(peer.proposal(await peer.hear(wire.Ask)))
    assert isinstance(await soon(answer), wire.Proposal)
