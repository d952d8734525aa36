"""Continuous batching over one KV cache: which sequences run, what they share, what each decode holds.

Owns sequence slots, prefix reuse, eviction and the batch. Knows nothing of sockets or prompts' meaning.
A sequence that ended stays *resident* until its slot or cells are needed: the next step of the thread, the
branches at a fork point and the other voices all find their prefix there (ENGINE.md, facts 3 to 5).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from voices.engine.llama import Llama, OutOfCells
from voices.engine.protocol import Failed, Generate
from voices.engine.sequence import TOP_K, Sequence
from voices.engine.statistics import distribution
from voices.wire import TokenStats

MIXED_PREFILL = 48
"""Prompt tokens beside speaking sequences in one decode: more of them would make the words on screen stutter."""
HIDDEN_PREFILL = 16
"""With more prompt tokens than this a decode leaves hidden states out: llama.cpp computes them for every row."""
WORTH_WAITING = 16
"""A shared prefix another sequence is just computing is waited for if it saves more tokens than this."""


@dataclass(slots=True)
class Resident:
    """What a slot's KV cells hold: `tokens` evaluated, and the statistics known by position."""

    tokens: list[int] = field(default_factory=list)
    stats: dict[int, TokenStats] = field(default_factory=dict)
    used: int = 0
    owner: Sequence | None = None


def common(a: list[int], b: list[int]) -> int:
    """Length of the common prefix."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    return next(i for i in range(limit) if a[i] != b[i])


class Scheduler:
    """Runs generations on a Llama. `submit`, `cancel`, then `step` until `idle`."""

    def __init__(self, llama: Llama, *, window: int) -> None:
        self.llama = llama
        self.window = window
        """Most tokens of one sequence."""
        self._slots = [Resident() for _ in range(llama.n_seq)]
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._order = itertools.count()
        self._clock = itertools.count(1)
        self._control = np.asarray(
            [t for t in range(llama.n_vocab) if llama.is_control(t) and not llama.is_end(t)], np.int64
        )
        self.decodes = 0

    @property
    def idle(self) -> bool:
        """True when there is nothing to do."""
        return not self._waiting and not self._running

    def submit(self, client: bytes, request: Generate, prompt: list[int], forced: list[int]) -> Failed | None:
        """Queue a generation; a Failed answer where it can never run."""
        room = self.window - len(prompt) - len(forced)
        if room < 1 or not prompt:
            return Failed(
                request=request.request,
                code="too_long" if prompt else "bad_request",
                message=f"the prompt has {len(prompt) + len(forced)} tokens; the context window is {self.window}",
            )
        request = request.model_copy(update={"max_tokens": min(request.max_tokens, room)})
        sequence = Sequence(
            client=client,
            request=request,
            order=next(self._order),
            tokens=prompt + forced,
            n_prompt=len(prompt),
            n_forced=len(forced),
            banned=self._control,
            random=np.random.default_rng(request.sampling.seed),
        )
        sequence.say_forced(self.llama)
        self._waiting.append(sequence)
        return None

    def cancel(self, client: bytes, request: str) -> Sequence | None:
        """Drop a generation between decodes; its cells stay as a cache. None if it is not known (any more)."""
        for sequence in (*self._waiting, *self._running):
            if sequence.client == client and sequence.request.request == request:
                self._leave(sequence)
                return sequence
        return None

    def active(self) -> Iterable[Sequence]:
        """Every sequence that waits or runs."""
        return (*self._running, *self._waiting)

    def step(self) -> tuple[list[Sequence], list[tuple[Sequence, Failed]]]:
        """Admit, decode one batch, read its rows. Returns (ended sequences, failed ones)."""
        self._admit()
        rows = self._rows()
        if not rows:
            return [], []
        failed = self._decode(rows)
        if failed is not None:
            return [], [failed]
        return self._read(rows), []

    def _leave(self, sequence: Sequence) -> None:
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence in self._running:
            self._running.remove(sequence)
        if sequence.slot >= 0:
            resident = self._slots[sequence.slot]
            resident.owner = None
            resident.used = next(self._clock)
            if len(resident.tokens) > sequence.evaluated:  # a stop string was cut off
                self.llama.cut(sequence.slot, sequence.evaluated)
                del resident.tokens[sequence.evaluated :]

    def _admit(self) -> None:
        """Give slots to waiting sequences, the most urgent first, with the longest known prefix."""
        for sequence in sorted(self._waiting, key=lambda s: (s.request.priority, s.order)):
            reusable, source = self._best_prefix(sequence)
            if self._soon(sequence) > reusable + WORTH_WAITING:
                continue
            slot = self._free_slot(keep=source)
            if slot is None:
                continue
            self._waiting.remove(sequence)
            self._running.append(sequence)
            self._take(sequence, slot, source, reusable)

    def _best_prefix(self, sequence: Sequence) -> tuple[int, int | None]:
        best, source = 0, None
        for slot, resident in enumerate(self._slots):
            length = self._reusable(sequence, resident)
            if length > best:
                best, source = length, slot
        return best, source

    def _reusable(self, sequence: Sequence, resident: Resident) -> int:
        """Tokens of the resident that serve this sequence. At least one token is left to evaluate, and within
        the forced prefix only as far as the resident also knows the statistics."""
        length = min(common(resident.tokens, sequence.tokens), len(sequence.tokens) - 1)
        if length < sequence.n_prompt:
            return length
        known = all(p in resident.stats for p in range(sequence.n_prompt, length + 1))
        return length if known and self._at(sequence, resident, length) else sequence.n_prompt - 1

    @staticmethod
    def _at(sequence: Sequence, resident: Resident, position: int) -> TokenStats | None:
        """Statistics of the sequence's token at `position` from a resident whose prefix is the same: the
        distribution is, only the token may be another one of its top-k."""
        known, token = resident.stats[position], sequence.tokens[position]
        if known.id == token:
            return known
        for other in known.top:
            if other.id == token:
                logp = float(np.log(max(other.p, 1e-300)))
                return known.model_copy(update={"id": token, "text": other.text, "logp": logp})
        return None

    def _soon(self, sequence: Sequence) -> int:
        """Longest prefix that a running sequence is about to have evaluated."""
        return max((min(common(s.tokens, sequence.tokens), s.n_prompt) for s in self._running), default=0)

    def _free_slot(self, keep: int | None) -> int | None:
        """An empty slot, else the least recently used idle one (not `keep`), else None."""
        idle = [i for i, r in enumerate(self._slots) if r.owner is None and (i != keep or not r.tokens)]
        if not idle:
            return None
        return min(idle, key=lambda i: (bool(self._slots[i].tokens), self._slots[i].used))

    def _take(self, sequence: Sequence, slot: int, source: int | None, length: int) -> None:
        resident = self._slots[slot]
        self.llama.cut(slot, 0)
        stats: dict[int, TokenStats] = {}
        if source is not None and length:
            other = self._slots[source]
            other.used = next(self._clock)
            self.llama.copy(source, slot, length)
            for position in range(sequence.n_prompt, length + 1):
                found = self._at(sequence, other, position)
                assert found is not None, "_reusable promised it"
                stats[position] = found
        resident.tokens = sequence.tokens[:length]
        resident.stats = sequence.stats = stats
        resident.owner = sequence
        sequence.slot = slot
        sequence.evaluated = sequence.reused = length

    def _rows(self) -> list[tuple[Sequence, int]]:
        """(sequence, position) of the next batch: one row for each speaking sequence, then prompt tokens."""
        order = sorted(self._running, key=lambda s: (s.request.priority, s.order))
        speaking = [s for s in order if s.evaluated == len(s.tokens) - 1]
        rows = [(s, s.evaluated) for s in speaking][: self.llama.n_batch]
        room = self.llama.n_batch - len(rows)
        if speaking:
            room = min(room, MIXED_PREFILL)
        for sequence in order:
            if sequence.evaluated < len(sequence.tokens) - 1 and room > 0:
                count = min(room, len(sequence.tokens) - sequence.evaluated)
                rows += [(sequence, p) for p in range(sequence.evaluated, sequence.evaluated + count)]
                room -= count
        return rows

    def _decode(self, rows: list[tuple[Sequence, int]]) -> tuple[Sequence, Failed] | None:
        """Evaluate the rows, evicting idle residents while there are no cells; then the least urgent sequence fails."""
        prompt_rows = sum(1 for s, p in rows if p < s.n_prompt - 1)
        self.llama.with_hidden(prompt_rows <= HIDDEN_PREFILL)
        while True:
            try:
                self.llama.decode(
                    [s.tokens[p] for s, p in rows],
                    [p for _, p in rows],
                    [s.slot for s, _ in rows],
                    [s.needs_logits(p) for s, p in rows],
                )
                self.decodes += 1
                return None
            except OutOfCells:
                if not self._evict():
                    return self._give_up()

    def _evict(self) -> bool:
        idle = [i for i, r in enumerate(self._slots) if r.owner is None and r.tokens]
        if not idle:
            return False
        slot = min(idle, key=lambda i: self._slots[i].used)
        self.llama.cut(slot, 0)
        self._slots[slot] = Resident()
        return True

    def _give_up(self) -> tuple[Sequence, Failed]:
        sequence = max(self._running, key=lambda s: (s.request.priority, s.order))
        self._leave(sequence)
        message = f"no KV cells left for {len(self._running) + 1} sequences; set more cells or fewer voices"
        return sequence, Failed(
            request=sequence.request.request, code="out_of_memory", message=message, retryable=True
        )

    def _read(self, rows: list[tuple[Sequence, int]]) -> list[Sequence]:
        hidden = self.llama.hidden_on
        for index, (sequence, position) in enumerate(rows):
            resident = self._slots[sequence.slot]
            resident.tokens.append(sequence.tokens[position])
            sequence.evaluated += 1
            if position < sequence.n_prompt:
                sequence.prefill += 1
            if hidden:
                sequence.feel(position, self.llama.hidden(index))
            if sequence.needs_logits(position):
                logits = self.llama.logits(index)
                sequence.see(position, distribution(logits, TOP_K), logits, self.llama)
        ended = [s for s in self._running if s.finish is not None]
        for sequence in ended:
            self._leave(sequence)
        return ended
