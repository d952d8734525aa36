"""The scripted engine keeps its promises: what other tests lean on."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import END, Hang, ScriptedEngine, hidden_of, id_of, ids_of, tokens_of
from voices.engine import protocol as en
from voices.engine.client import EngineClient, EngineError

TWO = {"Echo": {"I hear it.": 3.0, "I wonder.": 1.0}}


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path / 'e.sock'}"


@pytest.fixture
def client(endpoint: str) -> Iterator[EngineClient]:
    with EngineClient(endpoint, patience=20) as client:
        yield client


def prompt(tag: str, *thoughts: str) -> en.Prompt:
    lines = "".join(f"[Pulse] {thought}\n" for thought in thoughts)
    messages = (
        en.PromptMessage(role="user", parts=(en.Part(text="Hello."),)),
        en.PromptMessage(role="assistant", parts=(en.Part(text=f"{lines}[{tag}]"),)),
    )
    return en.Prompt(messages=messages)


def generate(client: EngineClient, tag: str = "Echo", *thoughts: str, **more: object) -> en.Done:
    request = en.Generate.model_validate({"request": "r", "prompt": prompt(tag, *thoughts)} | more)
    *_, done = client.stream(request)
    assert isinstance(done, en.Done)
    return done


def test_tokens_are_words_and_marks_and_join_to_the_text() -> None:
    text = " You can't — 12, no?"
    assert "".join(tokens_of(text)) == text
    assert tokens_of(" I can't.") == [" I", " can't", "."]
    assert len(set(ids_of("one two three"))) == 3
    assert id_of("") == END


def test_statistics_are_those_of_the_script(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, TWO, spread=0.0):
        done = generate(client)
    assert (done.text, done.finish) == (" I hear it.", "end")
    fork = done.stats.tokens[1]
    assert fork.logp == pytest.approx(math.log(0.75))
    assert fork.entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert fork.margin == pytest.approx(0.5)
    assert [(each.text, each.p) for each in fork.top] == [(" hear", 0.75), (" wonder", 0.25)]
    assert (done.stats.tokens[0].entropy, done.stats.hidden) == (0.0, hidden_of(done.text))


def test_a_spread_leaves_nothing_certain(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, TWO, spread=0.1):
        done = generate(client)
    assert all(token.entropy > 0.4 and token.logp < 0 for token in done.stats.tokens)


def test_forced_ids_bans_and_foreign_words(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, TWO):
        assert generate(client, forced_ids=ids_of(" I wonder")).text == " I wonder."
        assert generate(client, forced_ids=ids_of(" I"), bans=ids_of(" hear")).text == " I wonder."
        assert generate(client, forced_text=" But").text == " But and so it goes on."
        assert generate(client, bans=ids_of(" I")).text == " otherwise and so it goes on."
        assert generate(client, forced_ids=ids_of(" I wonder")).stats.n_forced == 2


def test_sampling_follows_weights_and_seed(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, TWO):
        drawn = [generate(client, sampling={"temperature": 1.0, "seed": n}).text for n in range(40)]
        again = [generate(client, sampling={"temperature": 1.0, "seed": n}).text for n in range(40)]
    assert drawn == again
    assert set(drawn) == {" I hear it.", " I wonder."}


def test_a_list_is_said_in_turn_and_a_function_is_asked(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, {"Echo": ["One.", "Two."]}):
        said = [generate(client, "Echo", *["x"] * n).text for n in range(3)]
    assert said == [" One.", " Two.", " One."]
    with ScriptedEngine(endpoint, lambda request, tag, turn: f"{tag} {turn}"):
        assert generate(client, "Doubt", "x").text == " Doubt 1"


def test_ends(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, {"*": "One. Two [Echo] three."}):
        assert (generate(client, sentence=True).finish, generate(client, max_tokens=3).finish) == (
            "sentence",
            "length",
        )
        stopped = generate(client, stop=("[",))
    assert (stopped.text.rstrip(), stopped.finish) == (" One. Two", "stop")
    assert "".join(token.text for token in stopped.stats.tokens) == " One. Two"


def test_the_urgent_are_served_first(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, {"*": "a b c d e f g h"}, pause=0.02) as engine:
        for name, priority in (("slow", 3), ("one", 0), ("two", 0)):
            client.send(en.Generate(request=name, prompt=prompt("Echo"), priority=priority))
        finished: list[str] = []
        while len(finished) < 3:
            answer = client.receive(20)
            assert answer is not None
            finished += [answer.request] if isinstance(answer, en.Done) else []
    assert finished == ["one", "two", "slow"]
    assert engine.order[-6:] == ["slow"] * 6


def test_what_was_computed_once_is_reused(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, TWO):
        first = generate(client).stats
        second = generate(client, "Doubt").stats
    assert (first.reused, first.prefill) == (0, 5)
    assert (second.reused, second.prefill) == (3, 2)


def test_too_long_a_prompt_is_refused(endpoint: str, client: EngineClient) -> None:
    with (
        ScriptedEngine(endpoint, TWO, n_ctx=4),
        pytest.raises(EngineError, match="over the context") as error,
    ):
        generate(client)
    assert error.value.code == "too_long"


def test_a_hang_is_cancelled(endpoint: str, client: EngineClient) -> None:
    with ScriptedEngine(endpoint, {"*": Hang("a b c", after=2)}) as engine:
        heard: list[en.Tokens | en.Done] = []
        with pytest.raises(EngineError, match="cancelled"):
            heard.extend(_until_two(client))
        assert client.info().model
    assert engine.cancelled == ["r"]


def _until_two(client: EngineClient) -> Iterator[en.Tokens | en.Done]:
    seen = 0

    def enough() -> bool:
        return seen == 2

    for answer in client.stream(en.Generate(request="r", prompt=prompt("Echo")), enough):
        seen = answer.steps if isinstance(answer, en.Tokens) else -1
        yield answer


def test_it_runs_as_a_process_of_its_own(tmp_path: Path, endpoint: str, client: EngineClient) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"Echo": ["I hear it."]}')
    command = [sys.executable, "-m", "tests.fakes", endpoint, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert generate(client).text == " I hear it."
        finally:
            process.kill()
