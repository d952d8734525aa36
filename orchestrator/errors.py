"""Every error a person can meet, in one tree.

    InnerError                      exit 1    message, hint, retryable, exit_code
    ├─ UsageError                   exit 2    what was asked for cannot be done; nothing was changed
    │   ├─ BadOpening                         an opening thought without words
    │   ├─ EmptyWords                         own words, an edit, a title or a name without words
    │   ├─ TooLong                            a text over its limit
    │   ├─ BadChoice                          a choice that does not fit its fork
    │   ├─ UnknownThing: UnknownThread, -Thought, -Fork, -Choice, -Mode, -Format, -Voice; lists the nearest
    │   ├─ NothingToUndo
    │   └─ BadSetting                         a setting with an impossible value
    ├─ TipMoved                     exit 1    retryable: the thread went on meanwhile, read it again
    │   └─ ForkOpen                           ... because a fork is open at its tip
    ├─ AlreadyRunning               exit 3    another process holds this data directory
    ├─ PortTaken                    exit 3
    ├─ UnsafeDirectory              exit 3    the run directory is not ours alone
    ├─ PartFailed                   exit 1    one of our processes keeps dying
    ├─ StoreError                   exit 4
    │   ├─ StoreBusy                          retryable: another process is writing
    │   ├─ DiskFull                           retryable once there is room
    │   ├─ NotWritable                        permissions, a read-only disk, a path that cannot exist
    │   ├─ StoreMissing                       there is no store at this path
    │   ├─ StoreForeign                       the file belongs to another program
    │   ├─ StoreCorrupt                       the file is damaged
    │   └─ StoreNewer                         the file was written by a newer version
    └─ ModelError                   exit 5    the model file or the engine
        └─ EngineLost                         retryable: the engine process went away

    PromptFileError                 exit 2    a prompt file that cannot be used: file, line, what is allowed. It is
                                              defined in voices, which may import nothing above it; same attributes.

Owns the classes and their words. Knows nothing of how they are shown (cli, ui).
`message` says what happened, to what; `hint` says what to do. Neither ends in a traceback unless asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from voices.role import PromptFileError as PromptFileError

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_RUNNING = 3
EXIT_STORE = 4
EXIT_MODEL = 5


class InnerError(Exception):
    """Base of all. The class gives the defaults; an instance may give a better hint."""

    default_hint: ClassVar[str] = ""
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = EXIT_ERROR

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[InnerError], message: str, hint: str) -> InnerError:
    """Unpickle any error of the tree, whatever its constructor asks for."""
    error = kind.__new__(kind)
    InnerError.__init__(error, message, hint)
    return error


class UsageError(InnerError):
    exit_code = EXIT_USAGE


class BadOpening(UsageError):
    default_hint = "Write at least one word to think about."


class EmptyWords(UsageError):
    default_hint = "Write at least one word."


class TooLong(UsageError):
    """A text over its limit: nothing of it was kept."""

    def __init__(self, what: str, length: int, limit: int) -> None:
        super().__init__(
            f"{what} is {length:,} characters long; the limit is {limit:,}.",
            "Shorten it, or begin with its first part and say the rest later. Nothing was saved of it.",
        )


class BadChoice(UsageError):
    default_hint = "Choose one of the options shown, edit one, write your own words, or refuse all."


class UnknownThing(UsageError):
    """A name that stands for nothing; `known` are the nearest ones."""

    thing: ClassVar[str] = "thing"

    def __init__(self, name: str, known: Sequence[str] = (), hint: str | None = None) -> None:
        if hint is None:
            hint = f"Known: {', '.join(known)}." if known else f"There is no {self.thing} yet."
        shown = name if len(name) <= 80 else name[:79] + "…"
        super().__init__(f"There is no {self.thing} {shown!r}.", hint)


class UnknownThread(UnknownThing):
    thing = "thread"


class UnknownThought(UnknownThing):
    thing = "thought"


class UnknownFork(UnknownThing):
    thing = "fork"


class UnknownChoice(UnknownThing):
    thing = "choice"


class UnknownMode(UnknownThing):
    thing = "mode"


class UnknownFormat(UnknownThing):
    thing = "format"


class UnknownVoice(UnknownThing):
    thing = "voice"


class NothingToUndo(UsageError):
    default_hint = "Only your own choices and words can be undone; the opening thought stays."


class BadSetting(UsageError):
    default_hint = "Correct it in config.toml, in the environment (INNER_...) or in the flag."


class TipMoved(InnerError):
    """The thread's tip is not the thought this work was made for. Nothing was written."""

    default_hint = "Read the thread again and go on from its new tip."
    retryable = True


class ForkOpen(TipMoved):
    """A fork is open at the tip: what follows it is the arbiter's choice."""

    default_hint = "Answer the open fork: own words are one of its answers."


class AlreadyRunning(InnerError):
    exit_code = EXIT_RUNNING
    default_hint = "Use that one, or stop it first."


class PortTaken(InnerError):
    exit_code = EXIT_RUNNING
    default_hint = "Give another one with --port."


class UnsafeDirectory(InnerError):
    exit_code = EXIT_RUNNING
    default_hint = "Give a directory of your own with INNER_HOME."


class PartFailed(InnerError):
    """A process the others cannot do without keeps dying; the hint holds the end of its log."""


class StoreError(InnerError):
    exit_code = EXIT_STORE


class StoreBusy(StoreError):
    default_hint = "Nothing was saved yet; try again in a moment."
    retryable = True


class DiskFull(StoreError):
    default_hint = "Nothing of this step was saved, and nothing else was lost. Make room, then go on."
    retryable = True


class NotWritable(StoreError):
    default_hint = "Check who owns the directory, or give another one with INNER_HOME."


class StoreMissing(StoreError):
    default_hint = "Begin a thread first, or give the right directory with INNER_HOME."


class StoreForeign(StoreError):
    default_hint = "Give another data directory with INNER_HOME. The file was not changed."


class StoreCorrupt(StoreError):
    default_hint = "The file was not changed. Put a backup in its place, or move it away to start afresh."


class StoreNewer(StoreError):
    default_hint = "Install the newer Inner Dialogue again. The file was not changed."


class ModelError(InnerError):
    exit_code = EXIT_MODEL
    default_hint = "Give a GGUF file with --model."


class EngineLost(ModelError):
    default_hint = "It is started again by itself; the step is asked once more."
    retryable = True
