"""Hygiene of text at the store's boundary: what may be kept, and how long it may be.

Owns the rules. Text is data: tags, template tokens, markup and writing directions are kept as they are, and it is
for whoever shows them to show them as text. Knows nothing of stores, voices or pages.
"""

from __future__ import annotations

import re
import unicodedata

from orchestrator.errors import EmptyWords, TooLong

OPENING_LIMIT = 20_000
"""Characters of one thought said by a person, an edit or own words: about ten pages, far over any context."""
TITLE_LIMIT = 200
NAME_LIMIT = 100

_SURROGATES = re.compile("[\ud800-\udfff]")
_NEWLINES = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


def scrub(text: str) -> str:
    """Only what no store can keep or compare: lone surrogates → U+FFFD, NUL removed, newlines as "\\n"."""
    return _NEWLINES.sub("\n", _SURROGATES.sub("\ufffd", text.replace("\0", "")))


def is_blank(text: str) -> bool:
    """Nothing that could be seen: only spaces, controls and format characters (zero width, directions)."""
    return all(unicodedata.category(character) in _INVISIBLE for character in text)


def clean(text: str, limit: int = OPENING_LIMIT, *, what: str = "This text") -> str:
    """Scrub and strip a person's text. May be empty. Raises TooLong, which says the length and the limit."""
    cleaned = scrub(text).strip()
    if len(cleaned) > limit:
        raise TooLong(what, len(cleaned), limit)
    return "" if is_blank(cleaned) else cleaned


def words(text: str, limit: int = OPENING_LIMIT, *, what: str = "This text") -> str:
    """`clean`, and there must be something left. Raises EmptyWords, TooLong."""
    cleaned = clean(text, limit, what=what)
    if not cleaned:
        raise EmptyWords(f"{what} has no words in it.")
    return cleaned


def one_line(text: str, limit: int) -> str:
    """The beginning of a text as a title: white space folded, cut at a word with an ellipsis. ≤ limit characters."""
    folded = " ".join(scrub(text).split())
    if len(folded) <= limit:
        return folded
    cut = folded[: limit - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > limit // 2 else cut).rstrip() + "…"
