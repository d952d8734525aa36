"""Reading along: each thing once, causes before effects, whatever happens to anybody."""

from orchestrator.follow import Chosen, Follower, Forked, Happening, Spoken
from orchestrator.store import Store
from tests.cli.script import ASKED, Dialogue, Part, Say


def told(happenings: list[Happening]) -> list[str]:
    words = []
    for happening in happenings:
        match happening:
            case Spoken(thought):
                words.append(f"thought {thought.text}")
            case Forked(fork):
                words.append(f"fork {fork.attempt}")
            case Chosen(_, choice):
                words.append(f"choice {choice.kind}")
    return words


def begin(store: Store, *, arbiter: str = "person") -> str:
    return store.begin("journal", "opening", stride=9, arbiter=arbiter).id  # type: ignore[arg-type]


def play(store: Store, *script: Say | Part, steps: int = 1) -> None:
    dialogue = Dialogue(store, script)
    for _ in range(steps):
        dialogue.step()


def test_what_is_there_already_is_no_news(store: Store) -> None:
    thread = begin(store)
    play(store, Say("Echo", "before"))
    follower = Follower(store, thread)
    assert follower.news() == []
    play(store, Say("Echo", "after"))
    assert told(follower.news()) == ["thought after"]
    assert follower.news() == []


def test_an_automatic_fork_comes_before_the_thought_it_became(store: Store) -> None:
    follower = Follower(store, begin(store, arbiter="auto"))
    play(store, Say("Echo", "one"), ASKED, Say("Shift", "three"), steps=3)
    assert told(follower.news()) == [
        "thought one",
        "fork 1",
        "choice option",
        f"thought {ASKED.options[0][1]}",
        "thought three",
    ]


def test_a_person_s_choice_is_told_when_made_and_again_never(store: Store) -> None:
    thread = begin(store)
    follower = Follower(store, thread)
    play(store, ASKED)
    assert told(follower.news()) == ["fork 1"]
    fork = store.open_fork(thread)
    assert fork is not None
    store.choose(fork.id, "own", text="my words")
    assert told(follower.news()) == ["choice own"]
    play(store)
    assert told(follower.news()) == ["thought my words"]
    assert follower.news() == []


def test_a_refusal_leads_to_another_draw(store: Store) -> None:
    thread = begin(store)
    follower = Follower(store, thread)
    play(store, ASKED)
    fork = store.open_fork(thread)
    assert fork is not None
    store.choose(fork.id, "none")
    assert told(follower.news()) == ["fork 1", "choice none"]
    assert not follower.settled
    play(store)
    assert told(follower.news()) == ["fork 2"]
    assert follower.settled


def test_what_an_undo_leaves_behind_was_told_and_the_fork_is_told_anew(store: Store) -> None:
    thread = begin(store)
    follower = Follower(store, thread)
    play(store, ASKED)
    fork = store.open_fork(thread)
    assert fork is not None
    store.choose(fork.id, "option", option_id=fork.options[1].id)
    play(store)
    store.undo(thread)
    assert told(follower.news()) == ["fork 1", "choice option", f"thought {ASKED.options[1][1]}", "fork 2"]


def test_a_choice_without_its_thought_yet_is_not_settled_even_for_who_comes_late(store: Store) -> None:
    thread = begin(store)
    play(store, ASKED)
    fork = store.open_fork(thread)
    assert fork is not None
    store.choose(fork.id, "option", option_id=fork.options[0].id)
    late = Follower(store, thread)
    assert not late.settled
    play(store)
    assert told(late.news()) == [f"thought {ASKED.options[0][1]}"]
    assert late.settled


def test_other_threads_are_none_of_our_business(store: Store) -> None:
    follower = Follower(store, begin(store))
    store.set_remaining(follower.thread_id, 0)
    other = store.begin("journal", "another one", stride=5)
    play(store, Say("Echo", "elsewhere"))
    assert store.thread(other.id).tip != other.tip
    assert follower.news() == []
