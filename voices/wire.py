"""The bus protocol "ID/1": every message between the hub and a voice, and its two frames.

Owns the message models and their encoding. Knows nothing of sockets, engines, stores or prompts.
The specification for authors of other implementations is docs/protocol.md; the golden messages in
tests/golden/ are the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

TAG = b"ID1"
PROTOCOL = "ID/1"
MAX_BYTES = 4 * 1024 * 1024
"""Upper limit of one body. A 2,048-token context with ids is about 30 kB; the rest is head room."""


class WireError(ValueError):
    """A frame that is not an ID/1 message: wrong frame count, tag, size, JSON or fields."""


class UnknownMessage(WireError):
    """A well-formed message of a type this version does not know: newer peers may send some."""


class Frozen(BaseModel):
    """Base of everything on a wire: immutable, unknown fields ignored (newer peers may add some)."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Turn(Frozen):
    """One thought of the thread as context: who said it, the text, and the token ids it was made of."""

    author: str
    text: str
    ids: tuple[int, ...] = ()
    human: bool = False


class Alternative(Frozen):
    """A token that could have stood at a position: its id, text and probability (T = 1, before sampling)."""

    id: int
    text: str
    p: float


class TokenStats(Frozen):
    """Statistics of one generated or forced token, from the full softmax at T = 1 before any sampler.

    logp is ln p of the token; entropy and varentropy are in nats and nats²; margin is p(1) − p(2).
    """

    id: int
    text: str
    logp: float
    entropy: float
    varentropy: float
    margin: float
    top: tuple[Alternative, ...] = ()


class Statistics(Frozen):
    """What the engine knows of one finished generation. `tokens` includes the forced prefix, first."""

    model: str
    """Digest of the model file: token ids mean nothing without it."""
    exact: bool = True
    """False where only the top-k of a remote engine is known and entropies are bounds."""
    n_forced: int = 0
    tokens: tuple[TokenStats, ...] = ()
    hidden: str | None = None
    """Mean last-layer hidden state over the tokens, float16, base64."""
    prefill: int = 0
    """Prompt tokens that had to be computed."""
    reused: int = 0
    """Prompt tokens found in the KV cache."""


class ForkSeed(Frozen):
    """Where a proposal must start: forced ids (text, where ids are unknown), and what may not follow."""

    ids: tuple[int, ...] = ()
    text: str = ""
    bans: tuple[int, ...] = ()
    """Token ids that may not be the first token after the forced ones."""


class Hello(Frozen):
    type: Literal["hello"] = "hello"
    voice: str
    session: str
    """Random per process start, so that a restarted voice is told from a duplicated one."""
    protocol: str = PROTOCOL
    slots: int = 1
    pid: int | None = None
    """Only for voices on the hub's machine: lets the hub watch the process itself."""
    capabilities: dict[str, str | int | bool | tuple[str, ...]] = Field(default_factory=dict)


class Welcome(Frozen):
    type: Literal["welcome"] = "welcome"
    epoch: str
    ping_ms: int
    max_bytes: int = MAX_BYTES


class Refused(Frozen):
    type: Literal["refused"] = "refused"
    reason: str
    hint: str = ""


class Ask(Frozen):
    type: Literal["ask"] = "ask"
    epoch: str
    request: str
    thread: str
    mode: str
    context: tuple[Turn, ...]
    model: str = ""
    """Digest of the model the ids in `context` and `fork_seed` belong to; empty: the engine's present one."""
    fork_seed: ForkSeed | None = None
    greedy: bool = False
    """Finish without sampling, whatever the voice's temperature is: a branch of the lead."""
    budget_ms: int
    """Relative, on the receiver's monotonic clock."""
    max_tokens: int | None = None
    seed: int = 0
    priority: int = 0
    """Smaller is sooner: 0 fork on screen, 1 hovered look-ahead, 2 look-ahead, 3 pre-generation."""


class Partial(Frozen):
    type: Literal["partial"] = "partial"
    epoch: str
    request: str
    seq: int
    text: str
    """All of the text so far, not a delta: a lost partial costs nothing."""
    steps: int = 0


class Proposal(Frozen):
    type: Literal["proposal"] = "proposal"
    epoch: str
    request: str
    seq: int
    text: str
    finish: Literal["stop", "sentence", "length", "end"]
    stats: Statistics | None = None


class Declined(Frozen):
    type: Literal["declined"] = "declined"
    epoch: str
    request: str
    seq: int
    code: str
    """engine_lost, engine_error, cancelled, budget, too_large, empty, busy, voice_error, unknown_mode"""
    message: str = ""
    retryable: bool = False


class Cancel(Frozen):
    type: Literal["cancel"] = "cancel"
    epoch: str
    request: str


class Ping(Frozen):
    type: Literal["ping"] = "ping"
    n: int


class Busy(Frozen):
    """Progress of one request in a pong: steps counts tokens, phase tells slow prefill from a stuck voice."""

    request: str
    steps: int
    phase: Literal["queued", "prefill", "speaking"]


class Pong(Frozen):
    type: Literal["pong"] = "pong"
    n: int
    busy: tuple[Busy, ...] = ()


class Who(Frozen):
    type: Literal["who"] = "who"
    reason: str = ""


class Bye(Frozen):
    type: Literal["bye"] = "bye"
    reason: str = ""


Message = Annotated[
    Hello | Welcome | Refused | Ask | Partial | Proposal | Declined | Cancel | Ping | Pong | Who | Bye,
    Field(discriminator="type"),
]
_adapter: TypeAdapter[Message] = TypeAdapter(Message)


def encode(message: Message) -> list[bytes]:
    """The two frames of a message: tag and JSON body.

    Raises WireError where the text is not Unicode (a lone surrogate) or the body is over MAX_BYTES: libzmq
    would drop the connection for it, and what stands in line behind it (fault 14).
    """
    try:
        body = message.model_dump_json(exclude_defaults=False).encode()
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise WireError(f"this {message.type} cannot be sent: {error}") from error
    if len(body) > MAX_BYTES:
        raise WireError(f"this {message.type} of {len(body)} bytes is over the limit of {MAX_BYTES}")
    return [TAG, body]


def decode(frames: list[bytes]) -> Message:
    """The message in two frames.

    Raises WireError for anything else, UnknownMessage (a WireError) for an unknown type. libzmq hands over
    raw bytes of strangers as messages (fault 13), so the frame count, the tag and the size are checked before
    the JSON is touched.
    """
    if len(frames) != 2:
        raise WireError(f"expected 2 frames, got {len(frames)}")
    tag, body = frames
    if tag != TAG:
        raise WireError("not an ID/1 frame: the tag is wrong")
    if len(body) > MAX_BYTES:
        raise WireError(f"a body of {len(body)} bytes is over the limit of {MAX_BYTES}")
    try:
        return _adapter.validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == "union_tag_invalid":
            raise UnknownMessage("an ID/1 message of an unknown type") from error
        raise WireError(f"not an ID/1 message: {str(error)[:200]}") from error
    except RecursionError as error:
        raise WireError(f"not an ID/1 message: {str(error)[:200]}") from error
