import pytest

from benchmarks.advice import WORLDS, Found, summary


def found(best, regret, default_regret, within_noise=True):
    return Found(best, "x", within_noise, regret, default_regret, 0.0, 0.0)


def test_the_summary_counts_answers_hits_and_what_was_saved():
    told = summary([found("a", 0.0, 0.2), found("b", 0.1, 0.1), found("a", 0.2, 0.3, within_noise=False)])
    assert (told["worlds"], told["best_answers"], told["found_best_or_within_noise"]) == (3, 2, 2)
    assert told["regret"] == pytest.approx(0.1) and told["default_regret"] == pytest.approx(0.2)
    mean, low, high = told["saved"]
    assert mean == pytest.approx(0.1) and -1e-9 <= low < mean < high <= 0.2 + 1e-9


def test_there_are_ten_worlds_of_which_no_two_are_alike():
    assert len(WORLDS) == len({str(world) for world in WORLDS.values()}) == 10
