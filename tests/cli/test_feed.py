"""The live feed over real sockets: what is lost shows as a gap, and strangers' bytes are nothing."""

from pathlib import Path

import pytest
import zmq

from orchestrator import feed
from voices.wire import WireError

EVENTS: list[feed.Event] = [
    feed.Words(thread="t", voice="Doubt", text="Was it … “x” \U0001f642", phase="lead"),
    feed.StoreChanged(thread="t"),
    feed.VoiceEvent(voice="Doubt", state="gone", detail="killed by SIGKILL"),
    feed.Note(thread="t", text="the oldest 12 thoughts left the prompt"),
    feed.Status(
        voices={"Echo": feed.VoiceStatus(state="ready")},
        engine=feed.EngineStatus(state="ready", name="m"),
        threads={"t": feed.ThreadStatus(state="paused", detail="disk full")},
    ),
]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_survives_its_two_frames(event: feed.Event) -> None:
    assert feed.decode(feed.encode(7, event)) == (7, event)


def test_the_frames_are_as_specified() -> None:
    tag, body = feed.encode(3, feed.StoreChanged(thread="t"))
    assert tag == b"FEED1"
    assert body == b'{"seq": 3, "kind": "store", "thread": "t"}'


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"FEED1"],
        [b"ID1", b"{}"],
        [b"FEED1", b"{"],
        [b"FEED1", b"[]"],
        [b"FEED1", b'{"seq": 1}'],
        [b"FEED1", b'{"seq": "x", "kind": "store", "thread": "t"}'],
        [b"FEED1", b'{"kind": "store", "thread": "t"}'],
        [b"FEED1", b'{"seq": 1, "kind": "dance"}'],
        [b"FEED1", b"\xff"],
        [b"FEED1", b"x" * (feed.MAX_BYTES + 1)],
    ],
)
def test_anything_else_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        feed.decode(frames)


def test_a_step_in_the_numbers_is_a_gap_and_the_first_number_is_none() -> None:
    order = feed.Order()
    assert [order.lost(seq) for seq in (5, 6, 8, 9, 1, 2)] == [False, False, True, False, True, False]


async def first(subscriber: feed.Subscriber, publisher: feed.Publisher) -> None:
    """Publish until the subscription has arrived, then read up to there."""
    n = 0
    while (event := await subscriber.next(0.02)) is None:
        n += 1
        publisher.publish(feed.Note(thread="", text=str(n)))
    while isinstance(event, feed.Note) and event.text != str(n):
        event = await subscriber.next()


async def test_events_arrive_in_order(short_dir: Path) -> None:
    endpoint = f"ipc://{short_dir}/feed.sock"
    with feed.Publisher(endpoint) as publisher:
        async with feed.Subscriber(endpoint) as subscriber:
            await first(subscriber, publisher)
            for event in EVENTS:
                publisher.publish(event)
            assert [await subscriber.next(10) for _ in EVENTS] == EVENTS


async def test_a_restarted_publisher_is_found_again_and_shows_as_a_gap(short_dir: Path) -> None:
    endpoint = f"ipc://{short_dir}/feed.sock"
    async with feed.Subscriber(endpoint) as subscriber:
        with feed.Publisher(endpoint) as publisher:
            await first(subscriber, publisher)
            publisher.publish(feed.Note(thread="", text="before"))
            assert await subscriber.next(10) == feed.Note(thread="", text="before")
        with feed.Publisher(endpoint) as publisher:
            seen: list[object] = []
            while feed.Gap() not in seen:
                publisher.publish(feed.Note(thread="", text="after"))
                seen.append(await subscriber.next(0.02))


async def test_a_reader_too_slow_loses_the_old_and_is_told(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = f"ipc://{short_dir}/feed.sock"
    with feed.Publisher(endpoint) as publisher:
        async with feed.Subscriber(endpoint) as subscriber:
            await first(subscriber, publisher)
            for n in range(feed.HIGH_WATER * 2):
                subscriber._put(feed.Note(thread="", text=str(n)))
            assert await subscriber.next(10) == feed.Gap()
            assert subscriber._queue.qsize() < feed.HIGH_WATER


async def test_bytes_of_a_stranger_are_nothing(short_dir: Path) -> None:
    endpoint = f"ipc://{short_dir}/feed.sock"
    with zmq.Context.instance().socket(zmq.PUB) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.bind(endpoint)
        async with feed.Subscriber(endpoint) as subscriber:
            heard = None
            while heard is None:
                stranger.send_multipart([b"FEED1", b"garbage"])
                stranger.send_multipart(feed.encode(1, EVENTS[1]))
                heard = await subscriber.next(0.02)
            assert heard == EVENTS[1]
