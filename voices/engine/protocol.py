"""The engine's interface "EN/1": what a prompt, a generation and its answers look like on the wire.

Owns the message models between an engine process and its clients (voices, orchestrator, benchmarks).
Knows nothing of llama.cpp and nothing of roles: a prompt is messages made of text and token ids.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from voices.wire import Frozen, Statistics, WireError

TAG = b"EN1"
MAX_BYTES = 16 * 1024 * 1024

Finish = Literal["stop", "sentence", "length", "end", "cancelled"]
"""stop: a stop string · sentence: a sentence ended · length: max_tokens or context · end: end-of-turn token."""


class Part(Frozen):
    """A piece of a message: token ids where they are known for this model, else text. Text is data:
    it is tokenised without special tokens, whatever it contains."""

    text: str = ""
    ids: tuple[int, ...] = ()


class PromptMessage(Frozen):
    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


class Prompt(Frozen):
    """A conversation whose last message, of role assistant, is left open: the engine goes on from its end.

    Shared parts first, the role tag last, so that all voices and all next steps reuse the KV prefix.
    """

    messages: tuple[PromptMessage, ...]
    model: str = ""
    """Digest the ids belong to. With another model the engine uses each part's text instead."""


class Sampling(Frozen):
    """temperature 0 is greedy. Statistics are always taken before any of this is applied."""

    temperature: float = Field(default=0.0, ge=0.0, le=4.0)
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    min_p: float = Field(default=0.05, ge=0.0, le=1.0)
    repeat_penalty: float = Field(default=1.0, ge=1.0, le=2.0)
    seed: int = 0


class Generate(Frozen):
    type: Literal["generate"] = "generate"
    request: str
    prompt: Prompt
    forced_ids: tuple[int, ...] = ()
    forced_text: str = ""
    """Used instead of forced_ids where ids are unknown."""
    bans: tuple[int, ...] = ()
    """Token ids that may not be the first sampled token."""
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ("\n",)
    sentence: bool = False
    """End after the first complete sentence."""
    max_tokens: int = Field(default=48, ge=1, le=4096)
    """Sampled tokens, the forced ones not counted."""
    priority: int = Field(default=0, ge=0, le=9)


class CancelGeneration(Frozen):
    type: Literal["cancel"] = "cancel"
    request: str


class Tokenize(Frozen):
    type: Literal["tokenize"] = "tokenize"
    request: str
    text: str


class AskInfo(Frozen):
    type: Literal["info?"] = "info?"
    request: str


class Tokens(Frozen):
    """Progress: all of the text so far (held to code-point boundaries) and the number of sampled tokens."""

    type: Literal["tokens"] = "tokens"
    request: str
    text: str
    steps: int
    phase: Literal["queued", "prefill", "speaking"] = "speaking"


class Done(Frozen):
    type: Literal["done"] = "done"
    request: str
    text: str
    """The text of all tokens, forced prefix included, without the stop string."""
    finish: Finish
    stats: Statistics


class Ids(Frozen):
    type: Literal["ids"] = "ids"
    request: str
    ids: tuple[int, ...]


class Info(Frozen):
    type: Literal["info"] = "info"
    request: str
    model: str
    """SHA-256 of the model file, first 16 hex digits."""
    name: str
    path: str
    n_params: int
    n_vocab: int
    n_ctx: int
    """Context window of one sequence, tokens."""
    n_cells: int
    """KV cells shared by all sequences."""
    template: bool
    """True: chat template from the GGUF. False: a base model, plain transcript."""
    exact: bool
    threads: int
    thread_timings: dict[str, float] = Field(default_factory=dict)
    """Self-measurement: threads → milliseconds of one decode of 4 sequences."""
    library: str


class Failed(Frozen):
    type: Literal["failed"] = "failed"
    request: str
    code: str
    """too_long, bad_request, out_of_memory, internal"""
    message: str
    retryable: bool = False


ToEngine = Annotated[Generate | CancelGeneration | Tokenize | AskInfo, Field(discriminator="type")]
FromEngine = Annotated[Tokens | Done | Ids | Info | Failed, Field(discriminator="type")]
_to_engine: TypeAdapter[ToEngine] = TypeAdapter(ToEngine)
_from_engine: TypeAdapter[FromEngine] = TypeAdapter(FromEngine)


def encode(message: ToEngine | FromEngine) -> list[bytes]:
    """Two frames: tag and JSON."""
    return [TAG, message.model_dump_json().encode()]


def _body(frames: list[bytes]) -> bytes:
    if len(frames) != 2 or frames[0] != TAG or len(frames[1]) > MAX_BYTES:
        raise WireError("not an EN/1 message")
    return frames[1]


def decode_request(frames: list[bytes]) -> ToEngine:
    """What a client sent. Raises WireError."""
    try:
        return _to_engine.validate_json(_body(frames))
    except (ValidationError, RecursionError) as error:
        raise WireError(f"not an EN/1 request: {str(error)[:200]}") from error


def decode_answer(frames: list[bytes]) -> FromEngine:
    """What the engine answered. Raises WireError."""
    try:
        return _from_engine.validate_json(_body(frames))
    except (ValidationError, RecursionError) as error:
        raise WireError(f"not an EN/1 answer: {str(error)[:200]}") from error
