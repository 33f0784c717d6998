import pytest

from experiments.advice.bench import Bench
from experiments.advice.proposals import Proposal
from experiments.protocol.settings import ExperimentProtocol
from experiments.trials.scheduler import TrialScheduler


@pytest.fixture
def make_bench(stream_folder, deployment, tmp_path):
    def make(protocol):
        with TrialScheduler(stream_folder, tmp_path / "trials", 1, print) as scheduler:
            return Bench(protocol, deployment, scheduler, print)

    return make


@pytest.fixture
def bench(make_bench):
    bench = make_bench(ExperimentProtocol(deployment="", tuning="2:3", reporting="4:6"))
    bench.teacher_seconds, bench.student_seconds = 8.0, 2.0
    return bench


def test_the_forecast_counts_a_teacher_per_width_and_seed_and_a_control_per_seed(bench):
    narrow, other = Proposal(2.0, "pet", "direct", 1.0), Proposal(2.0, "all", "auxiliary", 4.0)
    wide = Proposal(4.0, "pet", "direct", 1.0)
    assert bench.forecast([(narrow, 0), (other, 0)]) == 2 * 8 + 2 * 2
    assert bench.forecast([(narrow, 0), (wide, 0), (wide, 1)]) == 5 * 8 + 3 * 2


def test_the_rest_of_the_budget_pays_for_seeds_up_to_the_last_reporting_span(bench):
    # Two teachers, two students and the control, over seven spans instead of four.
    seconds_per_seed = (3 * 8 + 2 * 2) * 7 / 4
    assert bench.affordable_seeds(5.5 * seconds_per_seed) == 5
    assert (bench.affordable_seeds(0), bench.affordable_seeds(1000 * seconds_per_seed)) == (3, 10)


@pytest.mark.parametrize(("tuning", "first_span"), [("4:5", 2), ("2:3", 1)])
def test_the_search_starts_labels_as_many_spans_early_as_there_are_tuning_spans(
    make_bench, tuning, first_span
):
    protocol = ExperimentProtocol(deployment="", tuning=tuning, reporting="6:6")
    bench = make_bench(protocol)
    pairs = [(Proposal(2.0, "pet", "direct", 1.0), 0)]
    (searched,) = bench.students(bench.search, pairs, last=5)
    assert searched.labels.first_span == first_span
    (evaluated,) = bench.students(bench.evaluation, pairs, last=6)
    assert evaluated.labels.first_span == protocol.tuning_spans.start
