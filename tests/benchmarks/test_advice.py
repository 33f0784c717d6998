import pytest

from benchmarks.advice import WORLDS, WorldResult, summary


def result(best, regret, paper_regret, within_noise=True):
    return WorldResult(best, "x", within_noise, regret, paper_regret, 0.0, 0.0)


def test_the_summary_counts_best_answers_and_averages_the_saved_regret():
    bench_line = summary([result("a", 0.0, 0.2), result("b", 0.1, 0.1), result("a", 0.2, 0.3, False)])
    assert (bench_line["worlds"], bench_line["best_answers"]) == (3, 2)
    assert bench_line["found_best_or_within_noise"] == 2
    assert bench_line["regret"] == pytest.approx(0.1) and bench_line["paper_regret"] == pytest.approx(0.2)
    mean, low, high = bench_line["saved"]
    assert mean == pytest.approx(0.1) and -1e-9 <= low < mean < high <= 0.2 + 1e-9


def test_the_ten_worlds_differ():
    assert len(WORLDS) == len({str(world) for world in WORLDS.values()}) == 10
