"""Who is here: the leases of all voices, from hello to goodbye, and their signs of life.

Owns names (one voice a name), pings, silence, the watch on local processes and the ladder for a process that
hangs. Knows nothing of frames and of what is asked; the hub (`bus`) is told through `Owner`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, Protocol

from orchestrator.lease import Lease, VoiceState, ended, signal_voice, watch
from voices import wire
from voices.role import NAME

MISSED_PONGS = 4
"""Pings without any frame in return after which a voice is called silent: 1 s at 250 ms."""
RUNG_S = 2.0
"""Seconds from one rung of the ladder to the next: cancel, SIGTERM, SIGKILL."""
LAST_WORDS_S = 0.05
"""Between the end of a process or connection and of its lease: last words may still be in the socket, and of
a process that is killed the connection ends before the process does."""

Sent = Literal["sent", "full", "unreachable"]


class Owner(Protocol):
    """What presence needs of the hub."""

    def send(self, identity: bytes, message: wire.Message) -> Sent: ...

    def on_state(self, name: str, state: str, detail: str) -> None:
        """Tell others."""

    def on_lost(self, lease: Lease, message: str) -> None:
        """What the voice held is lost, and it does not know of it any more."""

    def on_silent(self, lease: Lease) -> None:
        """What the voice holds is not to be waited for."""

    def on_beat(self, lease: Lease) -> None:
        """Look at what the voice holds: is there progress?"""


class Presence:
    """The voices that are here, by name and by the identity of their connection."""

    def __init__(self, owner: Owner, endpoint: str, ping_ms: int, epoch: str) -> None:
        self.leases: dict[str, Lease] = {}
        self.gone: dict[str, VoiceState] = {}
        self._owner = owner
        self._endpoint = endpoint
        self._ping_ms = ping_ms
        self._epoch = epoch
        self._by_identity: dict[bytes, Lease] = {}
        self._n = 0

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self.leases.values()))

    def at(self, identity: bytes) -> Lease | None:
        """The voice behind a connection."""
        return self._by_identity.get(identity)

    def hello(self, identity: bytes, hello: wire.Hello) -> bool:
        """Answer a hello: welcome, or refused (then False)."""
        if (refused := self._refusal(identity, hello)) is not None:
            self._owner.send(identity, refused)
            return False
        lease = self.leases.get(hello.voice)
        if lease is None:
            lease = self._enter(identity, hello)
        else:
            # The same process on a new connection, or after a `who`: what it held, it has dropped.
            self._by_identity.pop(lease.identity, None)
            lease.identity, lease.hello = identity, hello
            self._by_identity[identity] = lease
            self._owner.on_lost(lease, "the voice began anew")
            self.life(lease)
        self._owner.send(identity, wire.Welcome(epoch=self._epoch, ping_ms=self._ping_ms))
        self.tell(lease)
        return True

    def _refusal(self, identity: bytes, hello: wire.Hello) -> wire.Refused | None:
        if hello.protocol != wire.PROTOCOL:
            return wire.Refused(reason="protocol", hint=f"this hub speaks {wire.PROTOCOL}")
        if not re.match(NAME, hello.voice):
            return wire.Refused(reason="bad_name", hint="a letter, then letters, digits, blanks, ' and -")
        here = self._by_identity.get(identity)
        if here is not None and here.name != hello.voice:
            return wire.Refused(reason="one_voice", hint=f"this connection speaks for {here.name}")
        old = self.leases.get(hello.voice)
        if old is None or old.hello.session == hello.session:
            return None
        if not ended(old.pidfd):
            return wire.Refused(reason="name_taken", hint=f"another {hello.voice} is here; choose a name")
        self.leave(old, "the process ended")  # its respawn was quicker than the news
        return None

    def _enter(self, identity: bytes, hello: wire.Hello) -> Lease:
        lease = Lease(hello, identity, datetime.now(UTC), self._loop.time(), watch(hello.pid))
        if lease.pidfd is not None:
            self._loop.add_reader(lease.pidfd, self._on_death, lease)
        self.leases[lease.name] = self._by_identity[identity] = lease
        self.gone.pop(lease.name, None)
        return lease

    def _on_death(self, lease: Lease) -> None:
        if lease.pidfd is not None:
            self._loop.remove_reader(lease.pidfd)
        self._loop.call_later(LAST_WORDS_S, self.leave, lease, "the process ended")

    def hang_up(self, lease: Lease) -> None:
        """Its connection is closed: end the lease, unless it comes back on a new one meanwhile."""
        self._loop.call_later(LAST_WORDS_S, self._on_hangup, lease, lease.identity)

    def _on_hangup(self, lease: Lease, identity: bytes) -> None:
        if lease.identity == identity:
            self.leave(lease, "the process ended" if ended(lease.pidfd) else "the connection is closed")

    def leave(self, lease: Lease, detail: str) -> None:
        """End a lease. Idempotent."""
        if self.leases.get(lease.name) is not lease:
            return
        del self.leases[lease.name]
        self._by_identity.pop(lease.identity, None)
        if lease.pidfd is not None:
            self._loop.remove_reader(lease.pidfd)
            os.close(lease.pidfd)
            lease.pidfd = None
        self.gone[lease.name] = VoiceState(
            "gone", lease.modes, lease.slots, lease.hello.pid, lease.since, detail
        )
        self._owner.on_lost(lease, f"{lease.name} is gone: {detail}")
        self._owner.on_state(lease.name, "gone", detail)

    def life(self, lease: Lease) -> None:
        """A frame came: that is a sign of life."""
        lease.heard = self._loop.time()
        if lease.silent_since is not None:
            lease.silent_since, lease.ladder = None, 0
            self._owner.on_state(lease.name, "back", "")
            lease.said = "ready"
            self.tell(lease)

    def tell(self, lease: Lease, detail: str = "") -> None:
        """Say the state of a voice where it has changed."""
        if self.leases.get(lease.name) is lease and lease.state != lease.said:
            lease.said = lease.state
            self._owner.on_state(lease.name, lease.state, detail)

    async def beat(self) -> None:
        """Ping everybody and look who has not answered; until cancelled."""
        interval = self._ping_ms / 1000
        due = self._loop.time() + interval
        while True:
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            now = self._loop.time()
            for lease in self:
                if now - due > 2 * interval:  # it was this process that slept: nobody is to blame for it
                    lease.heard += now - due
                self._look_at(lease, now, interval)
            due = self._loop.time() + interval

    def _look_at(self, lease: Lease, now: float, interval: float) -> None:
        silence = now - lease.heard
        if lease.silent_since is None and silence > MISSED_PONGS * interval:
            lease.silent_since = now
            self._owner.on_silent(lease)
            self.tell(lease, f"no sign of life for {silence:.1f} s")
        if lease.silent_since is not None:
            self._climb(lease, now - lease.silent_since)
        self._owner.on_beat(lease)
        self._n += 1
        if self._owner.send(lease.identity, wire.Ping(n=self._n)) == "unreachable":
            self.hang_up(lease)

    def _climb(self, lease: Lease, silent: float) -> None:
        """Cancel (sent already), grace, SIGTERM, SIGKILL; a voice that is no process here is given up."""
        rungs = (signal.SIGTERM, signal.SIGKILL)
        if lease.ladder < len(rungs) and silent > RUNG_S * (lease.ladder + 1):
            if lease.pidfd is None:
                self.leave(lease, "no sign of life")
            else:
                signal_voice(lease, rungs[lease.ladder], self._endpoint)
            lease.ladder += 1
