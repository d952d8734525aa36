"""What one step's token statistics say: the free signals, and the point where the step could have forked.

Owns the formulas of GATE.md's signal table that need nothing but the step itself. Knows nothing of history,
thresholds, budgets, voices or clusters. Entropies in nats, from the full softmax at T = 1 before any sampler.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from voices.wire import Alternative, TokenStats

OPEN_P = 0.02
"""A word below this probability is not an opening: greedy branches from the tail are noise, and each costs a
completion. A judgement; the pilot took the top 4 words without a floor."""
REBOUND = 1.33
"""τ_r of EDIS (arXiv 2602.01288, eq. 6) in nats, as used by public reimplementations for 1.5B models. The
paper (section 6) says it wants calibrating per model; the count is stored, no decision hangs on it yet."""
OPERATORS = frozenset("-−–*/×÷:^")
"""Punctuation that carries meaning after a digit: 12 − 2 and 12 / 2 are two steps."""

_SYMBOLS = frozenset({"Sm", "Sc", "So"})
_WORD = re.compile(r"\s*(\d+|\S+)")
_EDGES = string.punctuation + "“”‘’«»„…—–¿¡。，、！？"


@dataclass(frozen=True, slots=True)
class StepSignals:
    """The free signals of a step of n tokens (GATE.md, "Signals").

    nll = −Σ ln p(x_t) grows with length, nll_mean dilutes one bad token, nll_max is the weakest link: all
    three are kept. The entropy, varentropy and margin figures are over content tokens (all tokens where
    there are none).
    """

    nll: float
    nll_mean: float
    nll_max: float
    entropy_mean: float
    entropy_max: float
    varentropy_max: float
    margin_min: float
    n_tokens: int
    instability: int
    """Tokens whose entropy stands more than REBOUND above the lowest before them (EDIS, peak-valley
    spikes)."""
    exact: bool
    """False where the entropies are lower bounds from a top-k."""

    def as_dict(self) -> dict[str, float | int]:
        """For storage."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """The token of a step where its distribution is really open."""

    index: int
    """Number of the step's tokens before it: forcing those ids and then an alternative's id makes a
    branch."""
    before: str
    word: str
    """The lead's own word there, whole, even where it is made of several tokens."""
    entropy: float
    alternatives: tuple[Alternative, ...]
    """One token a word, the lead's own first, then by probability. p is the mass of all spellings of the
    word."""
    own_p: float
    """Probability of the very token the lead took."""

    @property
    def at_start(self) -> bool:
        """True where no word stands before it."""
        return not self.before.strip()

    def as_dict(self) -> dict[str, object]:
        """For storage."""
        fields = asdict(self)
        fields["alternatives"] = [alternative.model_dump() for alternative in self.alternatives]
        return fields


def is_content(text: str, before: str = "") -> bool:
    """Whether a token says something: a letter, digit or symbol in it, or an operator after a digit.

    Whitespace, newlines, punctuation and pieces of undecodable bytes say nothing: their entropy is about
    layout. `before` is the text in front of the token.
    """
    if any(c.isalnum() or (unicodedata.category(c) in _SYMBOLS and c != "\ufffd") for c in text):
        return True
    return _is_operator(text, before)


def _is_operator(text: str, before: str) -> bool:
    return text.strip() in OPERATORS and before.rstrip()[-1:].isdigit()


def _begins_word(text: str, before: str) -> bool:
    """Whether a token starts a word: after a space, at the start, after an opening quote or an operator.

    Digits and operators inside a sum start one each: many tokenisers split numbers digit by digit, and 12
    or 14 is a fork of meaning.
    """
    if not before or text[:1].isspace():
        return True
    if before[-1].isdigit() and text[:1].isdigit():
        return True
    if _is_operator(text, before):
        return True
    inside = before[-1].isalnum() or before[-1] in "'’" or unicodedata.category(before[-1]).startswith("M")
    return not inside and text[:1].isalnum()


def _folded(text: str, before: str) -> str:
    """The word a token begins: " the", "The" and " THE," are one, 12 and 2 are two."""
    word = _digits_before(text, before) + text.strip().casefold()
    return "".join(c for c in word if not unicodedata.category(c).startswith("P")) or word


def _digits_before(text: str, before: str) -> str:
    """The digits a token goes on from, where it goes on with a number."""
    return before[len(before.rstrip("0123456789")) :] if text[:1].isdigit() else ""


def step_signals(tokens: Sequence[TokenStats], *, exact: bool = True) -> StepSignals:
    """The signals of a step from its own tokens (a forced prefix that is part of the step included)."""
    losses = [max(0.0, -token.logp) for token in tokens]
    content = [t for t, before in zip(tokens, _befores(tokens), strict=True) if is_content(t.text, before)]
    counted = content or list(tokens)
    entropies = [token.entropy for token in counted]
    nll = math.fsum(losses)
    return StepSignals(
        nll=nll,
        nll_mean=nll / len(losses) if losses else 0.0,
        nll_max=max(losses, default=0.0),
        entropy_mean=math.fsum(entropies) / len(entropies) if entropies else 0.0,
        entropy_max=max(entropies, default=0.0),
        varentropy_max=max((token.varentropy for token in counted), default=0.0),
        margin_min=min((token.margin for token in counted), default=1.0),
        n_tokens=len(tokens),
        instability=_rebounds(entropies),
        exact=exact,
    )


def _befores(tokens: Sequence[TokenStats]) -> list[str]:
    """The text in front of each token."""
    before, befores = "", []
    for token in tokens:
        befores.append(before)
        before += token.text
    return befores


def _rebounds(entropies: Sequence[float]) -> int:
    """Σ_t 1[H_t − min_{s<t} H_s > τ_r] (EDIS, eq. 6)."""
    lowest, count = math.inf, 0
    for entropy in entropies:
        count += entropy - lowest > REBOUND
        lowest = min(lowest, entropy)
    return count


def fork_point(tokens: Sequence[TokenStats], *, words: int = 4) -> ForkPoint | None:
    """The open word of a step: t* = argmax H_t among content tokens that begin a word (GATE.md, "Signals").

    A place is open where some other word has p ≥ OPEN_P; places that are not are passed over, and None says
    that none is. At most `words` alternatives, the lead's own among them. The earliest of equals wins.
    """
    best: ForkPoint | None = None
    for index, (token, before) in enumerate(zip(tokens, _befores(tokens), strict=True)):
        if not (is_content(token.text, before) and _begins_word(token.text, before)):
            continue
        if best is not None and token.entropy <= best.entropy:
            continue
        alternatives = _alternatives(token, before, words)
        if len(alternatives) < 2:
            continue
        own_p = math.exp(min(0.0, token.logp))
        best = ForkPoint(index, before, _word_at(tokens, index, before), token.entropy, alternatives, own_p)
    return best


def _alternatives(token: TokenStats, before: str, words: int) -> tuple[Alternative, ...]:
    """The lead's word and the most probable others ≥ OPEN_P, one token each, spellings of a word added up."""
    own = Alternative(id=token.id, text=token.text, p=math.exp(min(0.0, token.logp)))
    others = sorted((a for a in token.top if a.id != token.id), key=lambda a: (-a.p, a.id))
    found = {_folded(own.text, before): own}
    for other in others:
        if "\ufffd" in other.text or not (
            is_content(other.text, before) and _begins_word(other.text, before)
        ):
            continue
        word = _folded(other.text, before)
        first = found.get(word, other)
        mass = other.p if first is other else first.p + other.p
        found[word] = first.model_copy(update={"p": min(1.0, mass)})
    first, *rest = found.values()
    open_words = sorted((a for a in rest if a.p >= OPEN_P), key=lambda a: (-a.p, a.id))
    return (first, *open_words[: max(0, words - 1)])


def _word_at(tokens: Sequence[TokenStats], index: int, before: str) -> str:
    """The lead's word at a token: to the next space, a number to its last digit, an operator alone."""
    token = tokens[index].text
    if _is_operator(token, before):
        return token.strip()
    head = _digits_before(token, before)
    match = _WORD.match(head + "".join(t.text for t in tokens[index:]))
    return match[1].strip(_EDGES) or match[1] if match else token.strip()
