"""How often a child is started again, and when no more."""

from orchestrator.process import Restarts, ended


class TestAChildThatKeepsDying:
    def test_comes_back_five_times_after_pauses_that_double(self) -> None:
        restarts = Restarts()
        assert [restarts.after(0.0) for _ in range(6)] == [0.2, 0.4, 0.8, 1.6, 3.2, None]

    def test_counts_anew_once_it_was_stable(self) -> None:
        restarts = Restarts()
        for _ in range(5):
            restarts.after(9.9)
        assert restarts.after(10.0) == 0.2

    def test_stays_dead_when_it_was_never_ready(self) -> None:
        restarts = Restarts(limit=0)
        assert restarts.after(0.0) is None


def test_an_end_is_told_in_words() -> None:
    assert ended(1) == "ended with code 1"
    assert ended(-9) == "killed by SIGKILL"
    assert ended(-250) == "killed by signal 250"
