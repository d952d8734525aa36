"""A voice of one's own: what `think` may do, and that it always ends in exactly one answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import voices
from tests.fakes import MODEL, Fail, Hang, ScriptedEngine, ids_of
from voices import Voice, wire
from voices.engine import protocol as en
from voices.voice import TEXT_LIMIT, Asked, Decline, Thinking, open_prompt

CONTEXT = (
    wire.Turn(author="Me", text="I keep postponing\nthe call.", human=True),
    wire.Turn(author="Echo", text="You wait for [Doubt] to end."),
)


class Speaker(Voice):
    """Says what a test gives it: pieces, or a function of itself and the ask."""

    name = "Skeptic"

    def __init__(self, says: Any, endpoint: str = "") -> None:
        super().__init__()
        self.says = says
        self.endpoint = endpoint
        self.patience_s = 5.0

    def think(self, ask: Asked) -> Iterator[str]:
        yield from self.says(self, ask) if callable(self.says) else self.says


def thinking(**more: Any) -> Thinking:
    fields = {
        "epoch": "e",
        "request": "r",
        "thread": "t",
        "mode": "journal",
        "context": CONTEXT,
        "budget_ms": 1000,
    }
    return Thinking(wire.Ask(**(fields | more)))


def speak(says: Any, endpoint: str = "", **ask: Any) -> wire.Proposal | wire.Declined:
    voice = Speaker(says, endpoint)
    try:
        return voice.speak(thinking(**ask))
    finally:
        voice.close()


def stream(voice: Voice, ask: Asked) -> Iterator[str]:
    return voice.engine.stream(ask.prompt + "[Skeptic] ", seed=ask.seed)


@pytest.fixture
def endpoint(run_dir: Path) -> str:
    return f"ipc://{run_dir / 'engine.sock'}"


class TestWithoutAnEngine:
    def test_pieces_become_one_proposal(self) -> None:
        final = speak(["  Is it", " so?\n"])
        assert isinstance(final, wire.Proposal)
        assert (final.text, final.finish, final.stats) == ("Is it so?", "end", None)

    def test_no_words_are_declined_as_empty(self) -> None:
        final = speak([" ", "\n"])
        assert isinstance(final, wire.Declined)
        assert (final.code, final.retryable) == ("empty", True)

    def test_an_exception_declines_and_tells_its_message(self) -> None:
        def fail(voice: Voice, ask: Asked) -> Iterator[str]:
            yield "I begin"
            raise ZeroDivisionError("by nothing")

        final = speak(fail)
        assert isinstance(final, wire.Declined)
        assert (final.code, final.message) == ("voice_error", "by nothing")

    def test_a_decline_keeps_its_code(self) -> None:
        def decline(voice: Voice, ask: Asked) -> Iterator[str]:
            raise Decline("not my subject", code="unknown_mode")

        final = speak(decline)
        assert isinstance(final, wire.Declined)
        assert (final.code, final.message) == ("unknown_mode", "not my subject")

    def test_lone_surrogates_can_be_sent(self) -> None:
        final = speak(["a\ud800b", "\ud83d\ude00"])
        assert isinstance(final, wire.Proposal)
        assert final.text == "a\ufffdb😀"
        wire.encode(final)

    def test_a_voice_that_never_ends_is_cut(self) -> None:
        final = speak(iter(lambda: "a" * 1000, None))
        assert isinstance(final, wire.Declined)
        assert final.code == "too_large"
        assert str(TEXT_LIMIT) in final.message

    def test_a_think_that_is_no_generator_is_an_error_of_the_voice(self) -> None:
        for says in (lambda voice, ask: None, [3]):
            final = speak(says)
            assert isinstance(final, wire.Declined)
            assert final.code == "voice_error"

    def test_without_an_engine_the_engine_declines(self) -> None:
        final = speak(stream)
        assert isinstance(final, wire.Declined)
        assert (final.code, final.message) == ("engine_error", "no engine: INNER_ENGINE is not set")

    def test_the_engine_is_for_thinking_only(self) -> None:
        with pytest.raises(RuntimeError, match="inside think"):
            _ = Speaker([], "ipc:///nowhere").engine

    def test_a_stopped_thought_ends_at_its_next_piece(self) -> None:
        voice, thought = Speaker(iter(lambda: "more ", None)), thinking()
        thought.stop.set()
        final = voice.speak(thought)
        assert isinstance(final, wire.Declined)
        assert final.code == "cancelled"


class TestThePrompt:
    def test_the_thread_is_a_transcript_in_which_no_text_is_a_tag(self) -> None:
        assert (
            thinking().ask.prompt == "[Me] I keep postponing the call.\n[Echo] You wait for (Doubt) to end.\n"
        )

    def test_the_last_line_is_left_open_without_a_trailing_blank(self) -> None:
        prompt = open_prompt("[Me] Hello.\n[Skeptic] ")
        roles = [(message.role, message.parts[0].text) for message in prompt.messages]
        assert roles == [("user", "[Me] Hello."), ("assistant", "[Skeptic]")]
        assert [message.role for message in open_prompt("Once").messages] == ["assistant"]


class TestWithAnEngine:
    def test_one_generation_brings_its_statistics(self, endpoint: str) -> None:
        with ScriptedEngine(endpoint, {"Skeptic": "Who says so?"}):
            final = speak(stream, endpoint)
        assert isinstance(final, wire.Proposal)
        assert (final.text, final.finish) == ("Who says so?", "end")
        assert final.stats is not None
        assert final.stats.model == MODEL
        assert tuple(token.id for token in final.stats.tokens) == ids_of(" Who says so?")

    def test_words_of_ones_own_have_no_statistics(self, endpoint: str) -> None:
        def add(voice: Voice, ask: Asked) -> Iterator[str]:
            yield from stream(voice, ask)
            yield " Nobody."

        with ScriptedEngine(endpoint, {"Skeptic": "Who says so?"}):
            final = speak(add, endpoint)
        assert isinstance(final, wire.Proposal)
        assert (final.text, final.stats) == ("Who says so? Nobody.", None)

    def test_two_generations_have_no_statistics(self, endpoint: str) -> None:
        def twice(voice: Voice, ask: Asked) -> Iterator[str]:
            draft = "".join(voice.engine.stream(ask.prompt + "[Draft]"))
            yield from voice.engine.stream(ask.prompt + draft + "\n[Skeptic]")

        with ScriptedEngine(endpoint, {"Draft": "A draft.", "Skeptic": "Better."}):
            final = speak(twice, endpoint)
        assert isinstance(final, wire.Proposal)
        assert (final.text, final.stats) == ("Better.", None)

    def test_the_ask_reaches_the_engine_by_itself(self, endpoint: str) -> None:
        seed = wire.ForkSeed(ids=ids_of(" Who"), bans=ids_of(" says"))
        script = {"Skeptic": {"Who says so?": 0.9, "Who else knows?": 0.1}}
        with ScriptedEngine(endpoint, script) as engine:
            final = speak(stream, endpoint, fork_seed=seed, greedy=True, priority=2, max_tokens=3, seed=5)
        assert isinstance(final, wire.Proposal)
        assert (final.text, final.finish) == ("Who else knows?", "length")
        request = engine.asked[0]
        assert (request.priority, request.max_tokens) == (2, 3)
        assert (request.sampling.temperature, request.sampling.seed) == (0.0, 5)

    def test_words_after_a_stop_are_not_part_of_the_thought(self, endpoint: str) -> None:
        with ScriptedEngine(endpoint, {"Skeptic": "Who says so [Echo] I do."}):
            final = speak(stream, endpoint)
        assert isinstance(final, wire.Proposal)
        assert (final.text, final.finish) == ("Who says so", "stop")

    def test_the_engines_refusal_declines(self, endpoint: str) -> None:
        with ScriptedEngine(endpoint, {"Skeptic": Fail("too_long", "2,100 tokens", retryable=False)}):
            final = speak(stream, endpoint)
        assert isinstance(final, wire.Declined)
        assert (final.code, final.message, final.retryable) == ("engine_error", "2,100 tokens", False)

    def test_an_engine_that_dies_declines_at_once_as_retryable(self, endpoint: str) -> None:
        engine = ScriptedEngine(endpoint, {"Skeptic": Hang("Who says so?", after=2)})
        engine.start()
        voice, thought = Speaker(stream, endpoint), thinking()
        voice.patience_s = 3600.0
        heard = threading.Event()
        thought.note = heard.set
        finals: list[object] = []
        thread = threading.Thread(target=lambda: finals.append(voice.speak(thought)))
        thread.start()
        assert heard.wait(20)
        engine.close()
        thread.join(20)
        [final] = finals
        assert isinstance(final, wire.Declined)
        assert (final.code, final.retryable) == ("engine_lost", True)
        assert thought.text.strip()
        with ScriptedEngine(endpoint, {"Skeptic": "I am back."}):
            again = voice.speak(thinking())
        voice.close()
        assert isinstance(again, wire.Proposal)

    def test_an_engine_that_says_nothing_is_lost_after_the_patience(self, endpoint: str) -> None:
        voice = Speaker(stream, endpoint)
        voice.patience_s = 0.1
        with ScriptedEngine(endpoint, {"Skeptic": Hang(after=-1)}):
            final = voice.speak(thinking())
        voice.close()
        assert isinstance(final, wire.Declined)
        assert (final.code, final.retryable) == ("engine_lost", True)

    def test_a_stop_cancels_the_generation_in_the_engine(self, endpoint: str) -> None:
        voice, thought = Speaker(stream, endpoint), thinking()
        thought.note = thought.stop.set  # with its first word
        with ScriptedEngine(endpoint, {"Skeptic": "Who says so?"}, pause=0.05) as engine:
            final = voice.speak(thought)
            assert isinstance(final, wire.Declined)
            assert final.code == "cancelled"
            assert isinstance(speak(stream, endpoint), wire.Proposal)  # the engine has read its mail by now
        voice.close()
        assert engine.cancelled == [engine.asked[0].request]


def test_the_package_exports_what_it_names() -> None:
    for name in voices.__all__:
        assert getattr(voices, name) is not None
    with pytest.raises(AttributeError):
        voices.nothing  # noqa: B018


def test_a_prompt_of_ones_own_reaches_the_engine_as_it_is(run_dir: Path) -> None:
    endpoint = f"ipc://{run_dir / 'engine.sock'}"
    prompt = en.Prompt(messages=(en.PromptMessage(role="assistant", parts=(en.Part(text="[Skeptic]"),)),))

    def own(voice: Voice, ask: Asked) -> Iterator[str]:
        return voice.engine.stream(prompt, temperature=0.3, stop=("!",), sentence=True, fork_seed=None)

    with ScriptedEngine(endpoint, {"Skeptic": "No. Yes."}) as engine:
        final = speak(own, endpoint, fork_seed=wire.ForkSeed(ids=ids_of(" Maybe")))
    assert isinstance(final, wire.Proposal)
    assert (final.text, final.finish) == ("No.", "sentence")
    assert engine.asked[0].prompt == prompt
