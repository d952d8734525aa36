"""A scripted engine: EN/1 over real ZeroMQ, answering from sentences with weights instead of a model.

It is a tiny language model that knows a few sentences by heart. The distribution of the next token is that of
the sentences which begin with what was said so far, so greedy and sampled answers, forced prefixes, bans,
entropies and branches all agree with each other, and a test can compute them by hand:

    with ScriptedEngine(endpoint, {"Echo": {"I hear it.": 0.75, "I wonder.": 0.25}, "*": "Yes."}):
        ...

Owns a thread (or, run as `python -m tests.fakes ENDPOINT SCRIPT.json`, a process that can be killed). Knows
nothing of llama.cpp. Words and punctuation marks are tokens; ids are hashes, so they survive a restart.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import random
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import zmq

from voices.engine import protocol as en
from voices.wire import Alternative, Statistics, TokenStats, WireError

MODEL = "5c21973d5c21973d"
END = 0
"""Id of the end-of-turn token; its text is empty."""
UNSAID = 100
"""Words the `spread` is shared by, none of which is ever said."""


@dataclass(frozen=True)
class Fail:
    """An answer: the engine refuses."""

    code: str = "internal"
    message: str = "scripted failure"
    retryable: bool = False


@dataclass(frozen=True)
class Hang:
    """An answer: say the first `after` tokens of `says`, then nothing more. -1: not even `queued`."""

    says: str = "and then nothing"
    after: int = 1


Says = str | Mapping[str, float] | Fail | Hang
Answers = Mapping[str, Says | Sequence[Says]] | Callable[[en.Generate, str, int], Says]
"""By the tag the prompt ends with (`Echo` for `[Echo]`), `*` for every other. Of a list, the element with
the number of thoughts that follow the opening is taken (round and round). Or a function of the request, the
tag and that number."""


def tokens_of(text: str) -> list[str]:
    """The tokens of a text; joined, they are the text."""
    return re.findall(r"\s?\w[\w']*|\s?[^\w\s]|\s", text)


def id_of(token: str) -> int:
    """The same in every process. Two tokens of one test sharing an id would be a rare misfortune."""
    return (zlib.crc32(token.encode()) & 0xFFFFFF) + 1 if token else END


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(map(id_of, tokens_of(text)))


@dataclass
class Run:
    """One generation under way."""

    identity: bytes
    request: en.Generate
    sentences: list[tuple[list[str], float]]
    hang_after: int | None
    prefill: int
    reused: int
    said: list[str] = field(default_factory=list)
    stats: list[TokenStats] = field(default_factory=list)
    sampled: int = 0

    @property
    def text(self) -> str:
        return "".join(self.said)


class ScriptedEngine:
    """Serves `endpoint` from entering to leaving the `with` block.

    `pause` seconds pass between two tokens; `spread` is the probability of everything the script does not
    say. What happened is in `asked`, `cancelled` and `order` (the request of each token, in order).
    """

    def __init__(
        self,
        endpoint: str,
        answers: Answers,
        *,
        pause: float = 0.0,
        spread: float = 0.05,
        model: str = MODEL,
        n_ctx: int = 2048,
        otherwise: str = " and so it goes on.",
    ) -> None:
        self.endpoint = endpoint
        self.answers = answers
        self.pause = pause
        self.spread = spread
        self.model = model
        self.n_ctx = n_ctx
        self.otherwise = otherwise
        self.asked: list[en.Generate] = []
        self.cancelled: list[str] = []
        self.order: list[str] = []
        self._runs: dict[str, Run] = {}
        self._words = {END: ""}
        self._prompts: list[list[str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="scripted engine")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        if not callable(answers):
            for says in answers.values():
                for each in [says] if isinstance(says, str | Mapping | Fail | Hang) else says:
                    self._sentences(each)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(self.endpoint)
        self._thread.start()

    def close(self) -> None:
        """Leave without a word: whoever waits for an answer waits in vain."""
        self._stop.set()
        self._thread.join()
        self._context.destroy(linger=0)

    # -- the loop

    def _serve(self) -> None:
        due = 0.0
        while not self._stop.is_set():
            wait = min(0.02, max(0.0, due - time.monotonic())) if self._speaking() else 0.02
            if self._socket.poll(round(wait * 1000)):
                identity, *frames = self._socket.recv_multipart()
                try:
                    self._on_request(identity, en.decode_request(frames))
                except WireError as error:
                    self._send(identity, en.Failed(request="", code="bad_request", message=str(error)))
            elif self._speaking() and time.monotonic() >= due:
                due = time.monotonic() + self.pause
                for run in self._speaking():
                    self._step(run)

    def _speaking(self) -> list[Run]:
        """The runs that get their next token in one batch: those of the most urgent priority."""
        able = [run for run in self._runs.values() if run.hang_after is None or run.sampled < run.hang_after]
        urgent = min((run.request.priority for run in able), default=0)
        return [run for run in able if run.request.priority == urgent]

    def _send(self, identity: bytes, message: en.FromEngine) -> None:
        self._socket.send_multipart([identity, *en.encode(message)])

    def _on_request(self, identity: bytes, message: en.ToEngine) -> None:
        match message:
            case en.Generate():
                self.asked.append(message)
                self._begin(identity, message)
            case en.CancelGeneration(request=request):
                if self._runs.pop(request, None) is not None:
                    self.cancelled.append(request)
            case en.Tokenize(request=request, text=text):
                self._learn(tokens_of(text))
                self._send(identity, en.Ids(request=request, ids=ids_of(text)))
            case en.AskInfo(request=request):
                self._send(identity, self._info(request))

    def _info(self, request: str) -> en.Info:
        return en.Info(
            request=request,
            model=self.model,
            name="scripted",
            path="tests/fakes.py",
            n_vocab=1 << 24,
            n_params=1_000_000,
            n_ctx=self.n_ctx,
            n_cells=4 * self.n_ctx,
            template=True,
            exact=True,
            threads=1,
            library="tests.fakes",
        )

    # -- one generation

    def _begin(self, identity: bytes, request: en.Generate) -> None:
        tag, turn = tag_and_turn(request.prompt)
        says = self._says(request, tag, turn)
        if isinstance(says, Fail):
            refusal = en.Failed(
                request=request.request, code=says.code, message=says.message, retryable=says.retryable
            )
            self._send(identity, refusal)
            return
        prompt = [word for message in request.prompt.messages for word in tokens_of(plain(message))]
        if len(prompt) > self.n_ctx:
            message = f"{len(prompt)} tokens are over the context of {self.n_ctx}"
            self._send(identity, en.Failed(request=request.request, code="too_long", message=message))
            return
        reused = max((_shared(prompt, old) for old in self._prompts), default=0)
        self._prompts = [*self._prompts[-31:], prompt]
        hang = says.after if isinstance(says, Hang) else None
        run = Run(identity, request, self._sentences(says), hang, len(prompt) - reused, reused)
        self._runs[request.request] = run
        if hang != -1:
            self._send(identity, en.Tokens(request=request.request, text="", steps=0, phase="queued"))
        known = [self._words.get(n, f" word{n}") for n in request.forced_ids]
        for word in known or tokens_of(request.forced_text):
            self._append(run, word)

    def _says(self, request: en.Generate, tag: str, turn: int) -> Says:
        if callable(self.answers):
            return self.answers(request, tag, turn)
        says = self.answers.get(tag, self.answers.get("*", "Yes."))
        if isinstance(says, str | Mapping | Fail | Hang):
            return says
        return says[turn % len(says)]

    def _sentences(self, says: Says) -> list[tuple[list[str], float]]:
        """Token lists with weights. A sentence begins with the blank that follows its tag."""
        if isinstance(says, Fail):
            return []
        if isinstance(says, Hang):
            says = says.says
        weights = {says: 1.0} if isinstance(says, str) else says
        sentences = [(tokens_of(" " + text.strip()), weight) for text, weight in weights.items()]
        for words, _ in sentences:
            self._learn(words)
        return sentences

    def _learn(self, words: Sequence[str]) -> None:
        self._words |= {id_of(word): word for word in words}

    def _next(self, run: Run) -> dict[str, float]:
        """Next token → probability, most probable first; the empty token ends. Sums to 1 − spread."""
        n = len(run.said)
        mass: dict[str, float] = {}
        for words, weight in run.sentences:
            if words[:n] == run.said:
                word = words[n] if n < len(words) else ""
                mass[word] = mass.get(word, 0.0) + weight
        if not mass:  # what was forced is in no sentence: go on in words of no meaning, then end
            words = [*run.said, *tokens_of(self.otherwise)]
            self._learn(words)
            run.sentences = [*run.sentences, (words, 1.0)]
            return self._next(run)
        total = sum(mass.values())
        ranked = sorted(mass.items(), key=lambda item: -item[1])
        return {word: weight / total * (1 - self.spread) for word, weight in ranked}

    def _append(self, run: Run, word: str) -> None:
        """Take `word` as the next token, with its statistics."""
        run.stats.append(token_stats(word, self._next(run), self.spread))
        run.said.append(word)

    def _step(self, run: Run) -> None:
        request = run.request
        word = self._sample(run)
        self.order.append(request.request)
        if word == "":
            self._done(run, run.text, "end")
            return
        self._append(run, word)
        run.sampled += 1
        cut = min((at for stop in request.stop if (at := run.text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            run.stats.pop()
            self._done(run, run.text[:cut], "stop")
        elif request.sentence and word.strip() in (".", "!", "?", "…"):
            self._done(run, run.text, "sentence")
        elif run.sampled >= request.max_tokens:
            self._done(run, run.text, "length")
        else:
            tokens = en.Tokens(request=request.request, text=run.text, steps=run.sampled)
            self._send(run.identity, tokens)

    def _sample(self, run: Run) -> str:
        choices = self._next(run)
        if run.sampled == 0:
            allowed = {word: p for word, p in choices.items() if id_of(word) not in run.request.bans}
            choices = allowed or {" otherwise": 1.0}
        temperature = run.request.sampling.temperature
        if temperature == 0:
            return max(choices, key=lambda word: choices[word])
        chance = random.Random(f"{run.request.sampling.seed} {len(run.said)}")
        weights = [p ** (1 / temperature) for p in choices.values()]
        return chance.choices(list(choices), weights)[0]

    def _done(self, run: Run, text: str, finish: en.Finish) -> None:
        del self._runs[run.request.request]
        stats = Statistics(
            model=self.model,
            n_forced=len(run.stats) - run.sampled + (finish == "stop"),
            tokens=tuple(run.stats),
            hidden=hidden_of(text),
            prefill=run.prefill,
            reused=run.reused,
        )
        done = en.Done(request=run.request.request, text=text, finish=finish, stats=stats)
        self._send(run.identity, done)


def tag_and_turn(prompt: en.Prompt) -> tuple[str, int]:
    """The voice whose tag the prompt ends with, and how many thoughts stand between opening and tag."""
    lines = plain(prompt.messages[-1]).split("\n")
    found = re.match(r"\s*\[([^\]]+)\]", lines[-1])
    before = [line for message in prompt.messages[:-1] for line in plain(message).split("\n")]
    tagged = [line for line in before if line.startswith("[")] if len(prompt.messages) == 2 else []
    return (found[1] if found else ""), len(lines) - 1 + max(0, len(tagged) - 1)


def plain(message: en.PromptMessage) -> str:
    return "".join(part.text for part in message.parts)


def token_stats(word: str, choices: Mapping[str, float], spread: float) -> TokenStats:
    """Exact statistics of `word` where `choices` and UNSAID equally likely others were possible."""
    p = [*choices.values(), *([spread / UNSAID] * UNSAID if spread else [])]
    entropy = max(0.0, -sum(x * math.log(x) for x in p if x > 0))
    chosen = choices.get(word) or spread / UNSAID or 1e-9
    ranked = [*sorted(p, reverse=True), 0.0]
    return TokenStats(
        id=id_of(word),
        text=word,
        logp=math.log(chosen),
        entropy=entropy,
        varentropy=sum(x * (math.log(x) + entropy) ** 2 for x in p if x > 0),
        margin=ranked[0] - ranked[1],
        top=tuple(Alternative(id=id_of(each), text=each, p=q) for each, q in list(choices.items())[:10]),
    )


def hidden_of(text: str) -> str:
    """Eight float16 numbers that depend on the text alone, base64."""
    chance = random.Random(text)
    return base64.b64encode(struct.pack("<8e", *(chance.uniform(-1, 1) for _ in range(8)))).decode()


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def main() -> None:
    """Serve a script from a file: {"tag": sentence, {sentence: weight} or a list of these}."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes")
    parser.add_argument("endpoint")
    parser.add_argument("script", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    with ScriptedEngine(options.endpoint, json.loads(options.script.read_text()), pause=options.pause):
        print("ready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
