"""Text without power: what would steer a terminal or turn a writing direction becomes a sign one can see.

Owns that one function. The store keeps text as it was said; this is for whoever shows it as text.
"""

from __future__ import annotations

import unicodedata

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
REPLACED = frozenset({"Cc", "Cs", "Co"})


def visible(text: str) -> str:
    """Newlines and tabs stay; other controls become control pictures, direction marks ⟨202E⟩."""
    return "".join(_sign(character) for character in text)


def _sign(character: str) -> str:
    if character in "\n\t":
        return character
    if character in DIRECTIONS:
        return f"⟨{ord(character):04X}⟩"
    if unicodedata.category(character) not in REPLACED:
        return character
    return chr(0x2400 + ord(character)) if ord(character) < 32 else "\ufffd"
