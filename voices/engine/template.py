"""From a prompt's messages to token ids: chat templates from the GGUF, plain transcripts for base models.

Owns the rule that text is data: only the template's own text may hold special tokens. Contents are put in
place of marks after the template was rendered, and tokenised apart, so that nothing a person or a voice wrote
is ever parsed as a role, and shared leading parts always give the same ids.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from voices.engine.protocol import Prompt, PromptMessage

Tokenizer = Callable[[str, bool], Sequence[int]]
"""(text, parse special tokens) → ids"""

_mark = "INNERxMARKx{}xMARK".format
_marks = re.compile(r"INNERxMARKx(\d+)xMARK")


class Template:
    """Renders prompts for one model. `source` is its Jinja chat template, or None for a base model."""

    def __init__(
        self,
        source: str | None,
        tokenize: Tokenizer,
        *,
        bos: Sequence[int],
        bos_text: str = "",
        eos_text: str = "",
    ) -> None:
        self._tokenize = tokenize
        self._bos = list(bos)
        self._bos_text = bos_text
        self._render = (
            Jinja2ChatFormatter(
                template=source, eos_token=eos_text, bos_token=bos_text, add_generation_prompt=False
            )
            if source
            else None
        )

    @property
    def chat(self) -> bool:
        """True where a chat template is used."""
        return self._render is not None

    def ids(self, prompt: Prompt, model: str) -> list[int]:
        """Token ids of the prompt, its last message left open. Part ids are used if they are of `model`."""
        own = prompt.model == model
        out = list(self._bos)
        for piece in self._frame(prompt.messages):
            if isinstance(piece, str):
                out += self._tokenize(piece, True)
                continue
            for part in piece.parts:
                out += part.ids if own and part.ids else self._tokenize(part.text, False)
        return out

    def _frame(self, messages: Sequence[PromptMessage]) -> list[str | PromptMessage]:
        """Template text and messages in turn, up to the last message's content."""
        if self._render is not None:
            for variant in (list(messages), _system_into_user(messages)):
                frame = self._chat_frame(variant)
                if frame is not None:
                    return frame
        separators = itertools.chain([""], itertools.repeat("\n\n"))
        return [piece for pair in zip(separators, messages, strict=False) for piece in pair if piece != ""]

    def _chat_frame(self, messages: list[PromptMessage]) -> list[str | PromptMessage] | None:
        """None where this template refuses or drops a message (some know no system role)."""
        assert self._render is not None
        marked = [{"role": m.role, "content": _mark(i)} for i, m in enumerate(messages)]
        try:
            text = self._render(messages=marked).prompt  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - templates are foreign programs and may raise anything
            return None
        if self._bos and self._bos_text:
            text = text.removeprefix(self._bos_text)  # ids() has put BOS already
        pieces = _marks.split(text)
        if [int(i) for i in pieces[1::2]] != list(range(len(messages))):
            return None
        frame: list[str | PromptMessage] = []
        for before, index in zip(pieces[0::2], pieces[1::2], strict=False):
            frame += [before, messages[int(index)]] if before else [messages[int(index)]]
        return frame


def _system_into_user(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """The same conversation for templates without a system role: its parts lead the first user message."""
    first, *rest = messages
    if first.role != "system" or not rest or rest[0].role != "user":
        return list(messages)
    joined = (*first.parts, first.parts[0].model_copy(update={"text": "\n\n", "ids": ()}), *rest[0].parts)
    return [PromptMessage(role="user", parts=joined), *rest[1:]]
