"""One generation under way: its tokens, its text, when it ends, and the statistics it leaves.

Owns the state of a single request. Knows nothing of batches, KV cells or other requests.
"""

from __future__ import annotations

import base64
import codecs
import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voices.engine.llama import Llama
from voices.engine.protocol import Done, Finish, Generate
from voices.engine.statistics import Distribution, sample
from voices.wire import Alternative, Statistics, TokenStats

TOP_K = 10
RECENT = 96
"""Tokens the repeat penalty looks back on: about the last four thoughts."""

_sentence_end = re.compile(r"""(?<![.\d])[.!?…]+["'”’)\]]*$""")
_abbreviation = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|[A-Z])\.$")


def sentence_ended(text: str) -> bool:
    """True where a text ends with a complete sentence. A full stop after a digit waits: it may be a decimal."""
    return bool(_sentence_end.search(text)) and not _abbreviation.search(text)


@dataclass(slots=True)
class Sequence:
    """A request's tokens: prompt, then forced prefix, then sampled. `evaluated` of them are in the KV cache."""

    client: bytes
    request: Generate
    order: int
    tokens: list[int]
    n_prompt: int
    n_forced: int
    banned: NDArray[np.int64]
    """Control tokens that no sampler may choose."""
    random: np.random.Generator
    slot: int = -1
    evaluated: int = 0
    prefill: int = 0
    reused: int = 0
    stats: dict[int, TokenStats] = field(default_factory=dict)
    """By position. Filled for forced and sampled tokens."""
    pieces: list[bytes] = field(default_factory=list)
    finish: Finish | None = None
    sent_at: float = 0.0
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _text: str = ""
    _hidden: NDArray[np.float64] | None = None
    _n_hidden: int = 0

    @property
    def n_given(self) -> int:
        """Tokens that were given: prompt and forced prefix."""
        return self.n_prompt + self.n_forced

    @property
    def sampled(self) -> int:
        """Number of tokens sampled so far."""
        return len(self.tokens) - self.n_given

    @property
    def text(self) -> str:
        """Text of forced and sampled tokens, held to code-point boundaries."""
        return self._text

    @property
    def phase(self) -> Literal["queued", "prefill", "speaking"]:
        """queued, prefill or speaking, for progress messages."""
        if self.slot < 0:
            return "queued"
        return "prefill" if self.evaluated < self.n_given else "speaking"

    def needs_logits(self, position: int) -> bool:
        """True where the row at `position` predicts a forced token without statistics, or the next token."""
        following = position + 1
        return following >= self.n_prompt and following not in self.stats

    def say_forced(self, llama: Llama) -> None:
        """Put the forced prefix into the text; called once, before the first decode."""
        for token in self.tokens[self.n_prompt :]:
            self._append(llama.piece(token))

    def see(self, position: int, row: Distribution, logits: NDArray[np.float32], llama: Llama) -> None:
        """Take the distribution after `position`: statistics of a forced token there, or sample the next."""
        following = position + 1
        if following < len(self.tokens):
            self.stats[following] = _statistics(
                self.tokens[following], float(logits[self.tokens[following]]), row, llama
            )
            return
        first = self.sampled == 0
        bans = (
            np.concatenate([self.banned, np.asarray(self.request.bans, np.int64)]) if first else self.banned
        )
        recent = np.unique(np.asarray(self.tokens[-RECENT:], np.int64))
        token = sample(logits, self.request.sampling, self.random, recent=recent, bans=bans)
        if llama.is_end(token):
            self.finish = "end"
            return
        self.tokens.append(token)
        self.stats[following] = _statistics(token, float(logits[token]), row, llama)
        self._append(llama.piece(token))
        self._check_end(llama)

    def feel(self, position: int, hidden: NDArray[np.float32]) -> None:
        """Add the hidden state at `position` to the mean, if it belongs to a forced or sampled token."""
        if position < self.n_prompt:
            return
        if self._hidden is None:
            self._hidden = np.zeros(hidden.shape, np.float64)
        self._hidden += hidden
        self._n_hidden += 1

    def _append(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self._text += self._decoder.decode(piece)

    def _check_end(self, llama: Llama) -> None:
        for stop in self.request.stop:
            at = self._text.find(stop)
            if at >= 0:
                self._cut_text(at, llama)
                self.finish = "stop"
                return
        if self.request.sentence and sentence_ended(self._text):
            self.finish = "sentence"
        elif self.sampled >= self.request.max_tokens:
            self.finish = "length"

    def _cut_text(self, at: int, llama: Llama) -> None:
        """Drop text from `at` on, with the tokens that made it; a token that spans the cut is replaced by the
        tokens of its kept bytes, since ids and text of an option must be the same thing."""
        keep = len(self._text[:at].encode())
        while self.sampled and sum(map(len, self.pieces)) - len(self.pieces[-1]) >= keep:
            self.pieces.pop()
            self.stats.pop(len(self.tokens) - 1, None)
            self.tokens.pop()
        spare = sum(map(len, self.pieces)) - keep
        piece, last = b"", None
        if spare > 0 and self.sampled:
            piece = self.pieces.pop()[:-spare]
            last = self.stats.pop(len(self.tokens) - 1, None)
            self.tokens.pop()
        self.evaluated = min(self.evaluated, len(self.tokens))
        if piece:
            for token in llama.tokenize(piece.decode(errors="replace")):
                self.tokens.append(token)
                self.pieces.append(llama.piece(token))
                if last is not None:
                    position = len(self.tokens) - 1
                    text = llama.piece(token).decode(errors="replace")
                    self.stats[position] = last.model_copy(update={"id": token, "text": text})
        self._text = self._text[:at]

    def done(self, model: str) -> Done:
        """The final answer."""
        assert self.finish is not None
        hidden = None
        if self._hidden is not None:
            mean = (self._hidden / self._n_hidden).astype(np.float16)
            hidden = base64.b64encode(mean.tobytes()).decode()
        tokens = tuple(self.stats[p] for p in range(self.n_prompt, len(self.tokens)))
        return Done(
            request=self.request.request,
            text=self._text + self._decoder.decode(b"", True),
            finish=self.finish,
            stats=Statistics(
                model=model,
                n_forced=self.n_forced,
                tokens=tokens,
                hidden=hidden,
                prefill=self.prefill,
                reused=self.reused,
            ),
        )


def _statistics(token: int, logit: float, row: Distribution, llama: Llama) -> TokenStats:
    return TokenStats(
        id=token,
        text=llama.piece(token).decode(errors="replace"),
        logp=row.logp(logit),
        entropy=row.entropy,
        varentropy=row.varentropy,
        margin=row.margin,
        top=tuple(
            Alternative(
                id=int(i),
                text=llama.piece(int(i)).decode(errors="replace"),
                p=float(np.exp(row.logp(float(x)))),
            )
            for i, x in zip(row.top_ids, row.top_logits, strict=True)
        ),
    )
