"""Clusters: proposals with one meaning, shown once, with all the voices behind them.

Owns the typed normaliser and the grouping. Knows nothing of probabilities' origin, thresholds or budgets.
Two texts share a cluster only where their normal forms are equal, so texts that differ in a number, an
operator, a negation or a person never do (GATE.md: embeddings call "12 / 14" .87 alike, "too late / never
too late" .89).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

STOP_WORDS = frozenset(["a", "an", "the", "oh", "ah", "ну", "же", "ведь", "вот"])
"""Words that carry no meaning of their own. Kept minimal: no negation, no pronoun, no conjunction among
them."""
LINE_STOP_WORDS = STOP_WORDS.union(
    ["so", "then", "thus", "hence", "therefore", "now", "итак", "тогда", "значит"]
)
"""In a calculation the connectives in front of a line carry nothing either."""
LINE_WORDS = {
    **{"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7"},
    **{"eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12"},
    **{"plus": "+", "minus": "-", "times": "*", "equals": "="},
}
"""Numbers and operators written out, for lines of a calculation."""

_CHARACTERS = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "−": "-", "–": "-", "—": "-", "‒": "-",
                             "×": "*", "∙": "*", "·": "*", "⋅": "*", "÷": "/", "\ufe0f": None})  # fmt: skip
_CONTRACTIONS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"n't\b", " not"),
        (r"'s\b", " is"),
        (r"'m\b", " am"),
        (r"'re\b", " are"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"'d\b", " would"),
        (r"(?<=\d)\s*\*\*\s*(?=\d)", "^"),
        (r"\*\*", " "),
        (r"^\s*[-*•]\s+", ""),
    )
]
_OPERAND_END = re.compile(r"(?:[\d)%!]|(?<![^\W\d_])[^\W\d_])$")
_OPERAND_START = re.compile(r"[\d(]|[-.]\d|[^\W\d_](?![^\W\d_])")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL = re.compile(r"(?=.*\d)(\d*)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible next thought: what the lead wrote, a branch of it, or another voice's proposal."""

    text: str
    voices: tuple[str, ...]
    source: Literal["lead", "branch", "voice"]
    p: float
    """Weight: for the lead and its branches the probability of their word at the fork point."""
    payload: Any = field(default=None, compare=False, repr=False)
    """Whatever the caller wants back with it (ids, statistics, requests); never looked at."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Candidates with one meaning. `representative` is the lead's own proposal where it is among them, else
    the likeliest; `p` is their share of all weights; `voices` are all behind them, the representative's
    first."""

    key: str
    representative: Candidate
    members: tuple[Candidate, ...]
    voices: tuple[str, ...]
    p: float

    @property
    def text(self) -> str:
        """The words that stand for the cluster."""
        return self.representative.text

    @property
    def has_lead(self) -> bool:
        """Whether the lead's own proposal is among the members."""
        return self.representative.source == "lead"


def normalise(text: str, unit: str) -> str:
    """The normal form of a text: equal forms are one meaning, "" is no words at all.

    Lower-cased words without punctuation and STOP_WORDS, contractions written out, numbers, signs and
    operators kept. For `unit` "line" also: numbers by value (3.50 = 3.5, three = 3), operands of pure sums
    and products in order, LINE_STOP_WORDS away. NFC, not NFKC: NFKC would turn 5² into 52.
    """
    folded = unicodedata.normalize("NFC", text.casefold()).translate(_CHARACTERS)
    for pattern, replacement in _CONTRACTIONS:
        folded = pattern.sub(replacement, folded)
    tokens = [_plain(token) for token in _split(" ".join(folded.split()))]
    stop_words = STOP_WORDS
    if unit == "line":
        tokens = _ordered([_value(LINE_WORDS.get(token, token)) for token in tokens])
        stop_words = LINE_STOP_WORDS
    return " ".join([token for token in tokens if token not in stop_words] or tokens)


def _split(text: str) -> list[str]:
    """Words, numbers, and the signs between them; all other punctuation is a space. Single spaces only."""
    pieces = []
    for i, c in enumerate(text):
        category = unicodedata.category(c)
        if category[0] in "LMN":
            pieces.append(c)
        elif category in ("Sm", "Sc", "So"):
            pieces.append(f" {c} ")
        elif category == "Cf":
            continue  # joiners and marks of direction: nothing a reader sees
        elif not _is_sign(text, i):
            pieces.append(" ")
        else:
            pieces.append(c if c in ".,:" else f" {c} ")
    return "".join(pieces).split()


def _is_sign(text: str, i: int) -> bool:
    """Whether the mark at i belongs to a number or a sum: a sign, an operator, a decimal point, a bracket."""
    mark, before, after = text[i], text[max(0, i - 4) : i].rstrip(), text[i + 1 : i + 5].lstrip()
    glued_left, glued_right = text[i - 1 : i] if i else "", text[i + 1 : i + 2]
    left, right = bool(_OPERAND_END.search(before)), bool(_OPERAND_START.match(after))
    match mark:
        case "*" | "/" | "^":
            return left and right
        case "-":
            return (left and right) or (glued_right.isdigit() and not glued_left.isalnum())
        case "." | "," | ":":
            starts = mark == "." and not glued_left.isalnum() and glued_left != "."
            return glued_right.isdigit() and (glued_left.isdigit() or starts)
        case "(":
            return right
        case ")":
            return left
        case "%":
            return before[-1:].isdigit()
        case "!":
            return before[-1:].isdigit() and after[:1] in tuple("=+-*/)")
        case _:
            return False


def _plain(token: str) -> str:
    """A number without its thousands separators: 1,000 is 1000."""
    return token.replace(",", "") if _THOUSANDS.fullmatch(token) else token


def _value(token: str) -> str:
    """A number by its value: 3.50 is 3.5, .5 is 0.5, 007 is 7."""
    match = _DECIMAL.fullmatch(token)
    if match is None:
        return token
    whole, fraction = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _ordered(tokens: list[str]) -> list[str]:
    """Operands of sums and products in one order: 4*3 is 3*4. Left alone wherever a neighbouring operator
    could make the order matter (2/3*4, 1-2+3)."""
    result, i = list(tokens), 0
    while i < len(tokens):
        sign = tokens[i + 1] if i + 1 < len(tokens) else ""
        end = i
        while sign in ("+", "*") and _number(tokens, end) and tokens[end + 1 : end + 2] == [sign]:
            end += 2
        if end == i or not _number(tokens, end):
            i += 1
            continue
        before, after = tokens[i - 1] if i else "", tokens[end + 1] if end + 1 < len(tokens) else ""
        free = after not in ("^", "!", "%") and before not in ("^", "/", "-")
        if sign == "+":
            free = free and before != "*" and after not in ("*", "/")
        if free:
            result[i : end + 1 : 2] = sorted(tokens[i : end + 1 : 2])
        i = end if not free else end + 1
    return result


def _number(tokens: list[str], i: int) -> bool:
    return i < len(tokens) and _DECIMAL.fullmatch(tokens[i]) is not None


def cluster(candidates: Sequence[Candidate], unit: str) -> list[Cluster]:
    """Candidates by meaning, the heaviest first; texts without any words are dropped.

    The result depends on the set of candidates, not on their order: sums are exact (fsum) and ties go to
    the lead, then to the normal form. Weights below zero count as zero; where all are zero every candidate
    counts 1.
    """
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if key := normalise(candidate.text, unit):
            groups.setdefault(key, []).append(candidate)
    total = math.fsum(max(0.0, c.p) for members in groups.values() for c in members)
    n = sum(map(len, groups.values()))
    clusters = []
    for key, members in groups.items():
        members.sort(key=lambda c: (c.source != "lead", -c.p, c.text, c.voices, c.source))
        share = math.fsum(max(0.0, c.p) for c in members) / total if total > 0 else len(members) / n
        voices = tuple(dict.fromkeys(voice for c in members for voice in c.voices))
        clusters.append(Cluster(key, members[0], tuple(members), voices, share))
    return sorted(clusters, key=lambda c: (-c.p, not c.has_lead, c.key))
