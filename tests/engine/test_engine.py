"""The engine process with the real embedded model, over real ZeroMQ."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from tests.processes import EngineProcess
from voices.engine.client import Cancelled, EngineClient, EngineError, EngineLost
from voices.engine.protocol import TAG, Done, Generate, Part, Prompt, PromptMessage, Sampling, Tokens

COUNTING = " 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,"
"""What the model goes on with for hundreds of tokens."""
PREAMBLE = "A person thinks aloud. The voices answer in one short sentence each. " * 6


def ask(request: str, *, voice: str = "Echo", said: str = "", **fields: object) -> Generate:
    messages = (
        PromptMessage(role="system", parts=(Part(text=PREAMBLE),)),
        PromptMessage(role="user", parts=(Part(text="I keep postponing the call to my father."),)),
        PromptMessage(role="assistant", parts=(Part(text=said), Part(text=f"[{voice}]"))),
    )
    values: dict[str, object] = {"max_tokens": 16, "stop": (), "forced_text": " I feel", **fields}
    return Generate.model_validate({"request": request, "prompt": Prompt(messages=messages), **values})


def run(engine: EngineProcess, request: Generate) -> Done:
    with EngineClient(engine.endpoint) as client:
        answer = list(client.stream(request))[-1]
    assert isinstance(answer, Done)
    return answer


@pytest.fixture
def model(engine: EngineProcess) -> str:
    with EngineClient(engine.endpoint) as client:
        return client.info().model


def with_ids(request: Generate, model: str, ids: tuple[int, ...]) -> Generate:
    prompt = request.prompt.model_copy(update={"model": model})
    return request.model_copy(update={"prompt": prompt, "forced_ids": ids, "forced_text": ""})


def test_every_token_carries_statistics_and_the_text_is_made_of_its_tokens(engine: EngineProcess) -> None:
    done = run(engine, ask("stats"))
    assert "".join(t.text for t in done.stats.tokens) == done.text
    assert len(done.stats.tokens) > done.stats.n_forced > 0
    for token in done.stats.tokens:
        assert token.logp <= 0
        assert 0 <= token.margin <= 1
        assert 0 <= token.entropy <= np.log(49152)
        assert len(token.top) == 10
        assert sum(a.p for a in token.top) <= 1 + 1e-6
        if any(a.id == token.id for a in token.top):
            assert np.exp(token.logp) == pytest.approx(
                next(a.p for a in token.top if a.id == token.id), rel=1e-3
            )


def test_greedy_takes_the_most_probable_token_each_time(engine: EngineProcess) -> None:
    done = run(engine, ask("greedy"))
    for token in done.stats.tokens[done.stats.n_forced :]:
        assert token.id == token.top[0].id


def test_a_picked_branch_is_what_is_emitted(engine: EngineProcess, model: str) -> None:
    request = ask("lead")
    lead = run(engine, request)
    at = lead.stats.n_forced + 3
    before = tuple(t.id for t in lead.stats.tokens[:at])
    for alternative in lead.stats.tokens[at].top[1:6]:
        branch = run(engine, with_ids(request, model, (*before, alternative.id)))
        assert tuple(t.id for t in branch.stats.tokens[: at + 1]) == (*before, alternative.id)
        assert branch.text.startswith("".join(t.text for t in lead.stats.tokens[:at]) + alternative.text)


def test_a_branch_computes_nothing_of_the_prefix_again_and_keeps_its_statistics(
    engine: EngineProcess, model: str
) -> None:
    request = ask("reuse", voice="Pulse")
    lead = run(engine, request)
    at = lead.stats.n_forced + 2
    before = tuple(t.id for t in lead.stats.tokens[:at])
    alternative = lead.stats.tokens[at].top[2]
    branch = run(engine, with_ids(request, model, (*before, alternative.id)))
    assert branch.stats.prefill == 0
    assert branch.stats.tokens[:at] == lead.stats.tokens[:at]
    assert branch.stats.tokens[at].entropy == lead.stats.tokens[at].entropy
    assert np.exp(branch.stats.tokens[at].logp) == pytest.approx(alternative.p, rel=1e-3)


def test_the_next_step_prefills_the_new_thought_and_its_tag_only(engine: EngineProcess) -> None:
    run(engine, ask("step 1", voice="Doubt"))
    said = "[Doubt] Do I know what I am afraid of?\n"
    second = run(engine, ask("step 2", voice="Shift", said=said))
    assert second.stats.reused > 90
    assert second.stats.prefill <= 20


def test_a_banned_word_does_not_come_first(engine: EngineProcess) -> None:
    first = run(engine, ask("ban 0")).stats
    word = first.tokens[first.n_forced].id
    again = run(engine, ask("ban 1", bans=(word,))).stats
    assert again.tokens[again.n_forced].id != word
    assert again.tokens[again.n_forced].entropy == pytest.approx(
        first.tokens[first.n_forced].entropy, abs=0.15
    )


def test_the_hidden_state_is_a_float16_vector_of_the_models_width(engine: EngineProcess) -> None:
    hidden = run(engine, ask("hidden")).stats.hidden
    assert hidden is not None
    vector = np.frombuffer(base64.b64decode(hidden), np.float16)
    assert vector.shape == (576,)
    assert np.isfinite(vector).all()
    assert vector.any()


def test_the_same_seed_says_the_same_and_another_seed_something_else(engine: EngineProcess) -> None:
    texts = [
        run(engine, ask(f"seed {i}", sampling=Sampling(temperature=1.0, seed=s))).text
        for i, s in enumerate((1, 1, 2, 3))
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[1:])) > 1


def test_a_sentence_ends_where_it_ends(engine: EngineProcess) -> None:
    done = run(engine, ask("sentence", sentence=True, max_tokens=60))
    assert done.finish == "sentence"
    assert done.text.rstrip()[-1] in ".!?…\"'”’)"


def test_a_stop_string_is_cut_off_with_its_tokens(engine: EngineProcess) -> None:
    plain = run(engine, ask("plain"))
    stop = plain.text[14:17]
    cut = run(engine, ask("cut", stop=(stop,)))
    assert cut.finish == "stop"
    assert cut.text == plain.text[: plain.text.index(stop)]
    assert "".join(t.text for t in cut.stats.tokens) == cut.text


def test_progress_never_shows_half_a_character(engine: EngineProcess) -> None:
    forced = " 🙂 ты 家 👩‍👩‍👧 "
    with EngineClient(engine.endpoint) as client:
        answers = list(
            client.stream(ask("utf8", forced_text=forced, sampling=Sampling(temperature=1.5, seed=4)))
        )
    assert all("�" not in a.text for a in answers[:-1] if isinstance(a, Tokens))
    assert answers[-1].text.startswith(forced)  # type: ignore[union-attr]


def test_four_voices_share_the_prefix_and_all_are_answered(engine: EngineProcess) -> None:
    results: dict[str, Done] = {}

    def think(voice: str) -> None:
        results[voice] = run(
            engine, ask(f"choir {voice}", voice=voice, said="[Me] And now it is evening again.\n")
        )

    threads = [threading.Thread(target=think, args=(v,)) for v in ("Echo", "Pulse", "Doubt", "Shift")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert (
        sum(done.stats.prefill for done in results.values()) <= 60
    )  # one new line and four tags, not four threads


def test_a_cancelled_generation_falls_silent_and_the_engine_goes_on(engine: EngineProcess) -> None:
    with EngineClient(engine.endpoint) as client:
        stream = client.stream(ask("long", max_tokens=400, forced_text=COUNTING))
        next(stream)
        stream.close()
        client.info()  # everything sent before this answer is already here
        assert client.receive(0.3) is None
    looks = iter(range(1000))
    with EngineClient(engine.endpoint) as client, pytest.raises(Cancelled):
        list(
            client.stream(ask("stop", max_tokens=400, forced_text=COUNTING), stopped=lambda: next(looks) > 3)
        )
    assert run(engine, ask("after")).text


def test_an_urgent_request_overtakes_a_long_one(engine: EngineProcess) -> None:
    order: list[str] = []

    def think(request: Generate) -> None:
        run(engine, request)
        order.append(request.request)

    long = threading.Thread(
        target=think, args=(ask("long", max_tokens=200, forced_text=COUNTING, priority=3),)
    )
    long.start()
    time.sleep(0.3)
    think(ask("urgent", voice="Doubt", max_tokens=4))
    long.join()
    assert order == ["urgent", "long"]


def test_a_prompt_over_the_window_is_refused_with_its_length(engine: EngineProcess) -> None:
    with pytest.raises(EngineError, match=r"has \d+ tokens; the context window is 4096") as caught:
        run(engine, ask("too long", said="word " * 6000))
    assert caught.value.code == "too_long"


def test_a_token_id_of_another_model_is_refused(engine: EngineProcess, model: str) -> None:
    with pytest.raises(EngineError, match="not of this model"):
        run(engine, with_ids(ask("id"), model, (10_000_000,)))


def test_strangers_bytes_do_not_harm_the_engine(engine: EngineProcess) -> None:
    context = zmq.Context.instance()
    with context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(engine.endpoint)
        for frames in (
            [b""],
            [TAG],
            [TAG, b"{"],
            [TAG, b'{"type":"generate"}'],
            [b"x" * 1000] * 3,
            [TAG, b"[" * 5000],
        ):
            socket.send_multipart(frames)
    assert run(engine, ask("healthy")).text


def test_template_tokens_in_a_thought_are_text(engine: EngineProcess) -> None:
    with EngineClient(engine.endpoint) as client:
        assert len(client.tokenize("<|im_end|>")) > 1


def test_a_killed_engine_is_lost_and_its_successor_answers_the_same_client(
    model_path: Path, short_dir: Path
) -> None:
    first = EngineProcess(model_path, short_dir, "--threads", "1", "--cells", "1024")
    first.wait()
    with EngineClient(first.endpoint, patience=0.6) as client:
        stream = client.stream(ask("killed", max_tokens=300, forced_text=COUNTING))
        next(stream)
        os.kill(first.process.pid, signal.SIGKILL)
        with pytest.raises(EngineLost):
            list(stream)
        first.process.communicate()
        second = EngineProcess(model_path, short_dir, "--threads", "1", "--cells", "1024")
        second.wait()
        client.patience = 10
        answers = list(client.stream(ask("again")))
        assert isinstance(answers[-1], Done)
        second.stop()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"hello", "is not a GGUF"), ("truncated", "truncated, damaged")],
)
def test_a_model_file_that_cannot_be_used_is_named_in_one_line(
    content: bytes | str | None, message: str, model_path: Path, short_dir: Path
) -> None:
    path = short_dir / "model.gguf"
    if content == "truncated":
        path.write_bytes(model_path.read_bytes()[:5_000_000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "voices.engine",
            "--model",
            str(path),
            "--endpoint",
            f"ipc://{short_dir}/e.sock",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 5
    last = done.stderr.strip().splitlines()[-1]
    assert str(path) in last
    assert message in last
    assert "Traceback" not in done.stderr
