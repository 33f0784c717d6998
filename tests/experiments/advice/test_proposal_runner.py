import pytest

from experiments.advice.proposal_runner import ProposalRunner
from experiments.advice.proposals import Proposal
from experiments.protocol.settings import ExperimentProtocol
from experiments.trials.scheduler import TrialScheduler


@pytest.fixture
def make_runner(stream_folder, deployment, tmp_path):
    def make(protocol):
        with TrialScheduler(stream_folder, tmp_path / "trials", 1, print) as scheduler:
            return ProposalRunner(protocol, deployment, scheduler, print)

    return make


@pytest.fixture
def proposal_runner(make_runner):
    proposal_runner = make_runner(ExperimentProtocol(deployment="", tuning="2:3", reporting="4:6"))
    proposal_runner.teacher_seconds, proposal_runner.student_seconds = 8.0, 2.0
    return proposal_runner


def test_the_forecast_counts_a_teacher_per_width_and_seed_and_a_control_per_seed(proposal_runner):
    narrow, other = Proposal(2.0, "pet", "direct", 1.0), Proposal(2.0, "all", "auxiliary", 4.0)
    wide = Proposal(4.0, "pet", "direct", 1.0)
    assert proposal_runner.forecast([(narrow, 0), (other, 0)]) == 2 * 8 + 2 * 2
    assert proposal_runner.forecast([(narrow, 0), (wide, 0), (wide, 1)]) == 5 * 8 + 3 * 2


def test_the_rest_of_the_budget_pays_for_seeds_up_to_the_last_reporting_span(proposal_runner):
    # Two teachers, two students and the control, over seven spans instead of four.
    seconds_per_seed = (3 * 8 + 2 * 2) * 7 / 4
    assert proposal_runner.affordable_seeds(5.5 * seconds_per_seed) == 5
    assert (
        proposal_runner.affordable_seeds(0),
        proposal_runner.affordable_seeds(1000 * seconds_per_seed),
    ) == (3, 10)


@pytest.mark.parametrize(("tuning", "first_span"), [("4:5", 2), ("2:3", 1)])
def test_the_search_starts_labels_as_many_spans_early_as_there_are_tuning_spans(
    make_runner, tuning, first_span
):
    protocol = ExperimentProtocol(deployment="", tuning=tuning, reporting="6:6")
    proposal_runner = make_runner(protocol)
    pairs = [(Proposal(2.0, "pet", "direct", 1.0), 0)]
    (searched,) = proposal_runner.students(proposal_runner.search_runner, pairs, last=5)
    assert searched.label_source.first_span == first_span
    (evaluated,) = proposal_runner.students(proposal_runner.evaluation_runner, pairs, last=6)
    assert evaluated.label_source.first_span == protocol.tuning_spans.start
