"""A scripted choir: voices that answer from a function, with statistics a test chooses."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from orchestrator.lease import VoiceState
from orchestrator.store import ThoughtRecord
from voices.engine.protocol import Info
from voices.role import ModeSpec
from voices.wire import Alternative, Declined, ForkSeed, Partial, Proposal, Statistics, TokenStats, Turn

MODEL = "feedfacefeedface"
VOICES = ("Echo", "Pulse", "Doubt", "Shift")

Said = str | Declined
Answer = Callable[[str, Sequence[Turn], ForkSeed | None, int], Said]
"""(voice, context, fork seed, how many asks before) → the words after the fork seed, or a refusal"""


def id_of(word: str) -> int:
    return zlib.crc32(word.encode()) & 0xFFFFFF


def words(text: str) -> list[str]:
    return [f" {word}" for word in text.split()]


def surprising(word: str) -> bool:
    """In these scripts a word in capitals is one the model was undecided about."""
    return word.strip(" .,?!").isupper() and len(word.strip(" .,?!")) > 1


def token(word: str, others: Sequence[str]) -> TokenStats:
    """A word of p = .4 with `others` behind it where it surprises, else of p = .99."""
    doubtful = surprising(word)
    top = [Alternative(id=id_of(word), text=word, p=0.4 if doubtful else 0.99)]
    if doubtful:
        top += [
            Alternative(id=id_of(f" {other}"), text=f" {other}", p=max(0.2 - 0.04 * i, 0.03))
            for i, other in enumerate(others)
        ]
    return TokenStats(
        id=id_of(word),
        text=word,
        logp=-40.0 if doubtful else -0.01,
        entropy=2.0 if doubtful else 0.05,
        varentropy=0.1,
        margin=0.2 if doubtful else 0.98,
        top=tuple(top),
    )


class ScriptedChoir:
    """Voices that say what `answer` says. `others` are the words behind every doubtful one."""

    def __init__(self, answer: Answer, *, others: Sequence[str] = ("tea", "rain", "home")) -> None:
        self.answer = answer
        self.others = others
        self.asked: list[tuple[str, ForkSeed | None, bool]] = []
        self.contexts: list[Sequence[Turn]] = []
        self.known = {id_of(f" {other}"): f" {other}" for other in others}
        self.present = list(VOICES)
        self.hold: asyncio.Event | None = None
        """While set to an event that is not set, every ask waits."""

    @property
    def voices(self) -> Mapping[str, VoiceState]:
        now = datetime.now(UTC)
        return {name: VoiceState("ready", (), 8, None, now) for name in self.present}

    async def ask(
        self,
        voice: str,
        *,
        request: str,
        thread: str,
        mode: str,
        context: Sequence[Turn],
        budget_ms: int,
        model: str,
        fork_seed: ForkSeed | None,
        greedy: bool,
        seed: int,
        on_partial: Callable[[Partial], None] | None,
    ) -> Proposal | Declined:
        count = len(self.asked)
        self.asked.append((voice, fork_seed, greedy))
        self.contexts.append(context)
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        said = self.answer(voice, context, fork_seed, count)
        if isinstance(said, Declined):
            return said.model_copy(update={"request": request})
        forced = self._forced(fork_seed)
        tokens = [token(word, self.others) for word in (*forced, *words(said))]
        for each in tokens:
            self.known[each.id] = each.text
        text = "".join(each.text for each in tokens).strip()
        if on_partial is not None:
            on_partial(Partial(epoch="e", request=request, seq=1, text=text))
        return Proposal(
            epoch="e",
            request=request,
            seq=2,
            text=text,
            finish="stop",
            stats=Statistics(model=MODEL, n_forced=len(forced), tokens=tuple(tokens), hidden="AAAAAA=="),
        )

    def _forced(self, seed: ForkSeed | None) -> list[str]:
        if seed is None:
            return []
        return [self.known[i] for i in seed.ids] if seed.ids else words(seed.text)


def declined(code: str, *, retryable: bool = True) -> Declined:
    return Declined(epoch="e", request="?", seq=1, code=code, message=f"scripted {code}", retryable=retryable)


class ScriptedEngine:
    """What a dialogue wants to know of an engine; `up` False: it is lost."""

    def __init__(self, *, n_params: int = 7_000_000_000, room: int = 4000) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self._n_params = n_params
        self._room = room

    @property
    def info(self) -> Info | None:
        if not self.up.is_set():
            return None
        return Info(
            request="",
            model=MODEL,
            name="scripted",
            path="",
            n_params=self._n_params,
            n_vocab=100,
            n_ctx=4096,
            n_cells=8192,
            template=True,
            exact=True,
            threads=1,
            library="scripted",
        )

    async def ready(self) -> Info:
        await self.up.wait()
        assert self.info is not None
        return self.info

    async def room(self, mode: ModeSpec, info: Info) -> int:
        return self._room

    async def lengths(self, thoughts: Sequence[ThoughtRecord], info: Info) -> dict[str, int]:
        return {thought.id: len(thought.text.split()) for thought in thoughts}
