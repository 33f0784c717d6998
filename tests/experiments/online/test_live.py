import numpy as np
import pytest

from eventlog.simulator import World, simulated_visits
from experiments.online.effects import Change, change
from experiments.online.live import LiveExperiment, same_policy
from experiments.online.slates import slates

VISITS, CANDIDATES, SLOTS = 1500, 10, 4


@pytest.fixture(scope="module")
def visits():
    spans = simulated_visits(World(), 2000, 3, visits=VISITS, candidates=CANDIDATES)
    return [next(spans) for _ in range(2)]


@pytest.fixture(scope="module")
def experiment(visits):
    return LiveExperiment(visits, CANDIDATES, SLOTS)


def policy(experiment, visits, score):
    return experiment.policy({of_span.span: score(of_span) for of_span in visits})


def test_a_slate_holds_the_best_candidates_of_its_visit():
    shown, positions = slates(np.array([1.0, 3.0, 2.0, 9.0, 7.0, 8.0]), candidates=3, slots=2)
    assert shown.tolist() == [1, 2, 3, 5]
    assert positions.tolist() == [1, 2, 1, 2]


def test_a_change_is_that_of_the_sums_and_its_error_that_of_the_users():
    treated, control = np.array([2.0, 1.0, 3.0, 4.0]), np.array([1.0, 1.0, 4.0, 2.0])
    found = change(treated, control)
    assert found.value == pytest.approx(10 / 8 - 1)
    # The delta method, by hand: each user's treated less 1.25 times his control, over 8.
    moved = np.array([0.75, -0.25, -2.0, 1.5]) / 8
    assert found.error == pytest.approx(np.std(moved, ddof=1) * np.sqrt(4))


def test_power_is_the_chance_to_find_the_effect():
    assert Change(0.0, 0.01).power(0.0) == pytest.approx(0.05)
    assert Change(0.0, 0.01).power(0.028015) == pytest.approx(0.8, abs=1e-3)


def test_the_same_choices_with_the_same_luck_have_the_same_outcomes(experiment, visits):
    random = np.random.default_rng(0)
    scores = {of_span.span: random.random(of_span.table.num_rows) for of_span in visits}
    first, second = (experiment.totals(experiment.policy(scores), luck=5) for _ in range(2))
    for measure in first:
        np.testing.assert_array_equal(first[measure], second[measure])


def test_ranking_by_the_truth_beats_chance(experiment, visits):
    best = policy(experiment, visits, lambda of_span: of_span.expectations.by_task()["watch_time"])
    chance = policy(
        experiment, visits, lambda of_span: np.random.default_rng(1).random(of_span.table.num_rows)
    )
    for measure in ("engagement", "satisfaction"):
        found = change(experiment.totals(best, luck=0)[measure], experiment.totals(chance, luck=0)[measure])
        assert found.interval[0] > 0.05


def test_the_first_place_is_clicked_more_than_the_last(visits):
    of_span = visits[0]
    uniforms = np.random.default_rng(2).random((6, of_span.table.num_rows), dtype=np.float32)
    shown = np.arange(of_span.table.num_rows)
    first, last = (
        of_span.outcomes(shown, np.full(len(shown), position), uniforms)["click"].mean()
        for position in (1, 20)
    )
    assert last < first * 0.85


def test_two_hundred_aa_runs_raise_few_false_alarms_and_find_a_known_effect(experiment, visits):
    best = policy(experiment, visits, lambda of_span: of_span.expectations.by_task()["click"])
    runs = 200
    for measure, found in same_policy(experiment, best, runs).items():
        alarms = sum(one.excludes_zero for one in found) / runs
        assert 0.02 <= alarms <= 0.09, measure
    known = {measure: 2.8 * np.mean([one.error for one in found]) for measure, found in
             same_policy(experiment, best, 5).items()}  # fmt: skip
    for measure, effect in known.items():
        raised = same_policy(experiment, best, runs, effect)[measure]
        power = np.mean([one.power(effect) for one in raised])
        hits = np.mean([one.excludes_zero and one.value > 0 for one in raised])
        assert hits == pytest.approx(power, abs=0.1), measure
