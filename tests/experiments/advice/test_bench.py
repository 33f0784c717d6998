import pytest

from experiments.advice.bench import Bench
from experiments.advice.candidates import Candidate
from experiments.protocol.settings import Experiment
from experiments.trials.schedule import Schedule


@pytest.fixture
def bench(stream_folder, deployment, tmp_path):
    experiment = Experiment(deployment="", tuning="2:3", reporting="4:6")
    with Schedule(stream_folder, tmp_path / "trials", 1, print) as schedule:
        made = Bench(experiment, deployment, schedule, print)
    made.teacher_seconds, made.student_seconds = 8.0, 2.0
    return made


def test_candidates_of_one_width_and_seed_share_a_teacher_and_of_one_seed_a_control(bench):
    one, other = Candidate(2.0, "pet", "direct", 1.0), Candidate(2.0, "all", "auxiliary", 4.0)
    wide = Candidate(4.0, "pet", "direct", 1.0)
    assert bench.forecast([(one, 0), (other, 0)]) == 2 * 8 + 2 * 2
    assert bench.forecast([(one, 0), (wide, 0), (wide, 1)]) == 5 * 8 + 3 * 2


def test_what_is_left_of_the_budget_buys_seeds_of_the_longer_stretch(bench):
    # Two teachers, two students and the control, over seven spans in place of four.
    seed = (3 * 8 + 2 * 2) * 7 / 4
    assert bench.affordable_seeds(5.5 * seed) == 5
    assert (bench.affordable_seeds(0), bench.affordable_seeds(1000 * seed)) == (3, 10)


def test_in_the_search_labels_begin_as_many_spans_earlier_as_the_tuning_stretch_has(
    stream_folder, deployment, tmp_path
):
    candidate = Candidate(2.0, "pet", "direct", 1.0)
    for tuning, first in (("4:5", 2), ("2:3", 1)):
        experiment = Experiment(deployment="", tuning=tuning, reporting="6:6")
        with Schedule(stream_folder, tmp_path / "trials", 1, print) as schedule:
            made = Bench(experiment, deployment, schedule, print)
        asked = made.students(made.search, [(candidate, 0)], last=5)
        assert [trial.labels.first_span for trial in asked] == [first]
        judged = made.students(made.judgement, [(candidate, 0)], last=6)
        assert [trial.labels.first_span for trial in judged] == [experiment.tuning_spans.start]
