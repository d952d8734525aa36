"""The tree of errors: what each of them tells a person, and a program."""

from __future__ import annotations

import pickle

import pytest

from orchestrator import errors
from orchestrator.errors import InnerError, PromptFileError, TooLong, UnknownThread
from voices import role

KINDS = sorted(
    (
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, InnerError) and kind is not InnerError
    ),
    key=lambda kind: kind.__name__,
)
CODES = {
    errors.UsageError: 2,
    errors.AlreadyRunning: 3,
    errors.PortTaken: 3,
    errors.StoreError: 4,
    errors.ModelError: 5,
    errors.TipMoved: 1,
}
RETRYABLE = {"StoreBusy", "DiskFull", "TipMoved", "ForkOpen", "EngineLost"}


@pytest.mark.parametrize(
    ("family", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_every_error_of_a_family_has_its_exit_code(family: type[InnerError], code: int) -> None:
    assert {kind.exit_code for kind in KINDS if issubclass(kind, family)} == {code}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_only_what_can_pass_by_itself_is_retryable(kind: type[InnerError]) -> None:
    assert kind.retryable == (kind.__name__ in RETRYABLE)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_in_the_tree_at_the_top_of_the_file(kind: type[InnerError]) -> None:
    drawn = errors.__doc__ or ""
    name = kind.__name__
    assert name in drawn or f"-{name.removeprefix('Unknown')}" in drawn


def test_a_message_is_followed_by_what_to_do() -> None:
    error = errors.StoreBusy("Another process is writing.")
    assert str(error) == "Another process is writing. Nothing was saved yet; try again in a moment."
    assert str(InnerError("Just so.")) == "Just so."


def test_an_instance_may_give_a_better_hint() -> None:
    assert errors.StoreBusy("Busy.", "Wait for the export.").hint == "Wait for the export."


def test_too_long_says_the_length_the_limit_and_what_to_do() -> None:
    error = TooLong("The opening thought", 1_048_576, 20_000)
    assert error.message == "The opening thought is 1,048,576 characters long; the limit is 20,000."
    assert "Shorten it" in error.hint


def test_an_unknown_name_lists_the_nearest() -> None:
    assert "one, two" in UnknownThread("x", ["one", "two"]).hint
    assert "no thread yet" in UnknownThread("x").hint


def test_errors_cross_process_boundaries_whole() -> None:
    for error in (TooLong("It", 2, 1), UnknownThread("x", ["y"]), errors.BadOpening("Nothing.")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert (copy.message, copy.hint, str(copy)) == (error.message, error.hint, str(error))


def test_the_prompt_file_error_is_the_voices_own_and_has_the_same_attributes() -> None:
    assert PromptFileError is role.PromptFileError
    assert PromptFileError.exit_code == errors.EXIT_USAGE
    assert PromptFileError.retryable is False
