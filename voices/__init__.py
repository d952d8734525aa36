"""Inner voices: processes that propose how a thread of thought could go on.

A voice of one's own imports this package alone: `from voices import Voice`. Names are loaded at first use,
so that reading a message model never costs a socket library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voices.role import ModeSpec, PromptFileError, RoleSpec, load_modes
    from voices.voice import Asked, Decline, Voice
    from voices.wire import Ask, ForkSeed, Statistics, Turn

__all__ = [
    "Ask",
    "Asked",
    "Decline",
    "ForkSeed",
    "ModeSpec",
    "PromptFileError",
    "RoleSpec",
    "Statistics",
    "Turn",
    "Voice",
    "load_modes",
]

_HOMES = {
    "Ask": "voices.wire",
    "Asked": "voices.voice",
    "Decline": "voices.voice",
    "ForkSeed": "voices.wire",
    "ModeSpec": "voices.role",
    "PromptFileError": "voices.role",
    "RoleSpec": "voices.role",
    "Statistics": "voices.wire",
    "Turn": "voices.wire",
    "Voice": "voices.voice",
    "load_modes": "voices.role",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
