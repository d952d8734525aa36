"""llama.cpp's low-level API, as little of it as the engine needs.

Owns the model, the context, the batch and the calls on them. Knows nothing of requests, prompts, sampling
or statistics: tokens go in, rows of logits and hidden states come out. Not thread-safe.

Facts behind the choices are in docs/DECISIONS.md ("engine").
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from voices.engine.prepare import PrepareError, check_gguf


class ModelFileError(Exception):
    """The model file can't be used. The message names the file, what is wrong and what to do."""


class OutOfCells(Exception):
    """The KV cache has no room for this batch; nothing of it was evaluated."""


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes, _data: object) -> None:
    """Errors of llama.cpp go to stderr (the engine's log), chatter does not."""
    if level == 4:  # GGML_LOG_LEVEL_ERROR
        sys.stderr.write(text.decode(errors="replace"))


def digest(path: Path) -> str:
    """SHA-256 of the file, the first 16 hex digits: 64 bits tell any models a person will own apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class Llama:
    """A loaded model with one context whose KV cells all sequences share.

    cells: KV cells in total. n_seq: number of sequence ids. n_batch: most tokens in one decode; it bounds
    how long a cancel or a more urgent request waits (ENGINE.md, fact 9). Raises ModelFileError, MemoryError.
    """

    def __init__(self, path: Path, *, cells: int, n_seq: int, threads: int, n_batch: int = 128) -> None:
        try:
            check_gguf(path)
        except PrepareError as error:
            raise ModelFileError(str(error)) from error
        lib.llama_log_set(_log, ctypes.c_void_p(0))
        lib.llama_backend_init()
        parameters = lib.llama_model_default_params()
        self._model = lib.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise ModelFileError(
                f"llama.cpp can't load {path}: it is truncated, damaged or of an architecture this version "
                f"({lib.__version__}) does not know; fetch the file again or choose another model"
            )
        self.path = path
        self.digest = digest(path)
        self.vocab = lib.llama_model_get_vocab(self._model)
        self.n_params = int(lib.llama_model_n_params(self._model))
        self.n_vocab = int(lib.llama_vocab_n_tokens(self.vocab))
        self.n_embd = int(lib.llama_model_n_embd_out(self._model))
        self.n_train = int(lib.llama_model_n_ctx_train(self._model))
        self.n_batch = n_batch
        self.n_seq = n_seq
        self.cells = cells
        options = lib.llama_context_default_params()
        options.n_ctx = cells
        options.n_batch = n_batch
        options.n_ubatch = n_batch
        options.n_seq_max = n_seq
        options.n_threads = threads
        options.n_threads_batch = threads
        options.kv_unified = True
        options.no_perf = True
        self._context = lib.llama_init_from_model(self._model, options)
        if not self._context:
            raise MemoryError(
                f"no room for a KV cache of {cells} cells; set a smaller one (settings: cells) or a smaller model"
            )
        self.memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_init(n_batch, 0, 1)
        self._with_hidden = False
        self.piece = lru_cache(maxsize=None)(self._piece)

    @property
    def name(self) -> str:
        """The model's own name from the GGUF, else the file's."""
        return self._meta("general.name") or self.path.stem

    def _meta(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(512)
        length = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace") if length >= 0 else ""

    @property
    def template(self) -> str | None:
        """The chat template in the GGUF, or None for a base model."""
        raw = lib.llama_model_chat_template(self._model, None)
        return raw.decode() if raw else None

    @property
    def bos(self) -> list[int]:
        """[BOS] where the vocabulary wants one before a text, else []."""
        if not lib.llama_vocab_get_add_bos(self.vocab):
            return []
        return [int(lib.llama_vocab_bos(self.vocab))]

    def token_text(self, token: int) -> str:
        """The text of a special token as templates write it."""
        raw = lib.llama_vocab_get_text(self.vocab, token) if token >= 0 else None
        return raw.decode(errors="replace") if raw else ""

    @property
    def bos_text(self) -> str:
        """BOS as templates write it, or an empty string."""
        return self.token_text(int(lib.llama_vocab_bos(self.vocab)))

    @property
    def eos_text(self) -> str:
        """EOS as templates write it, or an empty string."""
        return self.token_text(int(lib.llama_vocab_eos(self.vocab)))

    def is_end(self, token: int) -> bool:
        """True for every end-of-generation token of the vocabulary."""
        return bool(lib.llama_vocab_is_eog(self.vocab, token))

    def is_control(self, token: int) -> bool:
        """True for tokens that are part of templates, never of text."""
        return bool(lib.llama_vocab_is_control(self.vocab, token))

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text, without BOS. `special` parses template tokens: only for template text."""
        raw = text.encode("utf-8", errors="replace")
        capacity = len(raw) + 8
        buffer = (lib.llama_token * capacity)()
        count = lib.llama_tokenize(self.vocab, raw, len(raw), buffer, capacity, False, special)
        if count < 0:
            raise ValueError(f"llama.cpp could not tokenise a text of {len(raw)} bytes")
        return list(buffer[:count])

    def _piece(self, token: int) -> bytes:
        """The bytes of a token; special tokens render as nothing."""
        buffer = ctypes.create_string_buffer(256)
        length = lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def set_threads(self, threads: int) -> None:
        """Use this many threads from the next decode on."""
        lib.llama_set_n_threads(self._context, threads, threads)

    def with_hidden(self, on: bool) -> None:
        """Whether decodes also hand out last-layer hidden states; then every token of a batch is an output."""
        if on != self._with_hidden:
            lib.llama_set_embeddings(self._context, on)
            self._with_hidden = on

    @property
    def hidden_on(self) -> bool:
        """Whether the last decode's hidden states can be read."""
        return self._with_hidden

    def decode(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        sequences: Sequence[int],
        outputs: Sequence[bool],
    ) -> None:
        """Evaluate one batch of (token, position, sequence) rows; `outputs` marks rows that need logits.

        Raises OutOfCells (nothing evaluated) or RuntimeError (llama.cpp failed).
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, output) in enumerate(
            zip(tokens, positions, sequences, outputs, strict=True)
        ):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = output
        status = lib.llama_decode(self._context, batch)
        if status == 1:
            raise OutOfCells
        if status != 0:
            raise RuntimeError(f"llama_decode failed with status {status} on a batch of {len(tokens)} tokens")

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits (n_vocab,) of batch row `row`: a view that the next decode overwrites."""
        pointer = lib.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.n_vocab,))

    def hidden(self, row: int) -> NDArray[np.float32]:
        """Last-layer hidden state (n_embd,) of batch row `row`: a view that the next decode overwrites."""
        pointer = lib.llama_get_embeddings_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.n_embd,))

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` share the first `length` cells of `source`; copies nothing."""
        lib.llama_memory_seq_cp(self.memory, source, target, 0, length)

    def cut(self, sequence: int, length: int) -> None:
        """Forget everything of `sequence` from position `length` on."""
        lib.llama_memory_seq_rm(self.memory, sequence, length, -1)

    def close(self) -> None:
        """Free the batch, the context and the model."""
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)
        lib.llama_model_free(self._model)
