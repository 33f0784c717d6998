import numpy as np
import pytest

from eventlog.simulator import World, simulated_visits
from experiments.online.effects import Change, Measures, relative_change
from experiments.online.live import LiveExperiment, aa_changes
from experiments.online.slates import slates
from models.tasks import Task

VISITS, ITEMS, SLOTS = 1500, 10, 4
MEASURES = Measures(
    {"engagement": {"watch_time": 1.0}, "satisfaction": {"long_view": 1.0, "like": 1.0}},
    {
        "watch_time": Task(kind="regression", group="pet", unit="log1p_seconds"),
        "long_view": Task(kind="binary", group="pet"),
        "like": Task(kind="binary", group="pst"),
    },
)


@pytest.fixture(scope="module")
def visits():
    spans = simulated_visits(World(), 2000, 3, visits=VISITS, items=ITEMS)
    return [next(spans) for _ in range(2)]


@pytest.fixture(scope="module")
def experiment(visits):
    return LiveExperiment(visits, ITEMS, SLOTS, MEASURES)


def policy(experiment, visits, score):
    return experiment.policy({span_visits.span: score(span_visits) for span_visits in visits})


def test_a_slate_holds_the_items_with_the_highest_scores_of_its_visit():
    shown, positions = slates(np.array([1.0, 3.0, 2.0, 9.0, 7.0, 8.0]), num_items=3, num_slots=2)
    assert shown.tolist() == [1, 2, 3, 5]
    assert positions.tolist() == [1, 2, 1, 2]


def test_a_change_compares_totals_and_its_error_is_over_users():
    treated, control = np.array([2.0, 1.0, 3.0, 4.0]), np.array([1.0, 1.0, 4.0, 2.0])
    result = relative_change(treated, control)
    assert result.value == pytest.approx(10 / 8 - 1)
    # The delta method by hand: each user's treated total minus 1.25 times the control's, over 8.
    influences = np.array([0.75, -0.25, -2.0, 1.5]) / 8
    assert result.error == pytest.approx(np.std(influences, ddof=1) * np.sqrt(4))


def test_power_is_the_probability_to_detect_the_effect():
    assert Change(0.0, 0.01).power(0.0) == pytest.approx(0.05)
    assert Change(0.0, 0.01).power(0.028015) == pytest.approx(0.8, abs=1e-3)


def test_equal_slates_and_equal_seeds_give_equal_totals(experiment, visits):
    random = np.random.default_rng(0)
    scores = {span_visits.span: random.random(span_visits.table.num_rows) for span_visits in visits}
    first, second = (experiment.totals(experiment.policy(scores), outcome_seed=5) for _ in range(2))
    for measure in first:
        np.testing.assert_array_equal(first[measure], second[measure])


def test_ranking_by_the_truth_beats_random_ranking(experiment, visits):
    best = policy(experiment, visits, lambda span_visits: span_visits.expectations.by_task()["watch_time"])
    chance = policy(
        experiment, visits, lambda span_visits: np.random.default_rng(1).random(span_visits.table.num_rows)
    )
    for measure in ("engagement", "satisfaction"):
        result = relative_change(
            experiment.totals(best, outcome_seed=0)[measure],
            experiment.totals(chance, outcome_seed=0)[measure],
        )
        assert result.interval[0] > 0.05


def test_the_first_position_is_clicked_more_often_than_the_last(visits):
    span_visits = visits[0]
    uniforms = np.random.default_rng(2).random((6, span_visits.table.num_rows), dtype=np.float32)
    shown = np.arange(span_visits.table.num_rows)
    first, last = (
        span_visits.outcomes(shown, np.full(len(shown), position), uniforms)["click"].mean()
        for position in (1, 20)
    )
    assert last < first * 0.85


def test_aa_runs_raise_few_false_alarms_and_detect_a_known_effect(experiment, visits):
    best = policy(experiment, visits, lambda span_visits: span_visits.expectations.by_task()["click"])
    runs = 200
    for measure, results in aa_changes(experiment, best, runs).items():
        alarms = sum(result.excludes_zero for result in results) / runs
        assert 0.02 <= alarms <= 0.09, measure
    for measure, results in aa_changes(experiment, best, 5).items():
        effect = 2.8 * np.mean([result.error for result in results])
        raised = aa_changes(experiment, best, runs, effect)[measure]
        power = np.mean([result.power(effect) for result in raised])
        hits = np.mean([result.excludes_zero and result.value > 0 for result in raised])
        assert hits == pytest.approx(power, abs=0.1), measure
