import dataclasses

import numpy as np
import pytest
import yaml
from rich.console import Console

from experiments.advice import advising
from experiments.advice.candidates import Candidate, candidates
from experiments.protocol.settings import Experiment
from experiments.statistics.intervals import Estimate
from experiments.trials.progress import ExperimentProgress
from experiments.trials.schedule import Schedule

BEST = Candidate(4.0, "pet", "direct", 4.0)


def advice(best, low):
    gain = Estimate(0.02, (low, 0.03), None, 0.01)
    return advising.Advice(best, BEST, gain, gain, 5, [{BEST.name: 0.02}], 61.0)


def test_the_advice_is_a_configuration_that_loads(deployment, small_config, tmp_path):
    from pipeline.config_file import load_deployment

    tasks = {
        **deployment.tasks,
        "watch_time": dataclasses.replace(deployment.tasks["watch_time"], weight=0.5),
    }
    weighted = dataclasses.replace(deployment, tasks=tasks)
    told = advising.write_advice(advice(BEST, 0.01), weighted, small_config, tmp_path)
    assert told.startswith(
        "Advice: direct pet of 4x, weight 4. Evidence: criterion over the control with 5 seeds"
    )
    assert "direct pet of 4x, weight 4 +0.0200 [+0.0100, +0.0300], the paper's advice +0.0200" in told
    found = load_deployment(tmp_path / "recommended.yaml")
    assert found.teacher.architecture.trunk == (32,)
    assert set(found.student.distillation) == {"click", "long_view", "watch_time"}
    assert found.student.distillation["click"].weight == 4.0
    assert (found.student.distillation["watch_time"].weight, found.tasks["watch_time"].weight) == (2.0, 0.5)


def test_without_evidence_it_says_so_and_recommends_nothing(deployment, small_config, tmp_path):
    told = advising.write_advice(advice(None, -0.01), deployment, small_config, tmp_path)
    assert told.startswith("No evidence that distillation helps")
    assert not (tmp_path / "recommended.yaml").exists()


def test_what_gave_most_is_advised_of_what_has_shown_that_it_helps():
    found, default = BEST, candidates()[0]
    little, much = Estimate(0.01, (0.005, 0.02), None, 0.01), Estimate(0.02, (0.01, 0.03), None, 0.01)
    unsure = Estimate(0.03, (-0.01, 0.07), None, 0.3)
    assert advising.shown_best({found: much, default: little}) == found
    assert advising.shown_best({found: little, default: much}) == default
    assert advising.shown_best({found: unsure, default: little}) == default
    assert advising.shown_best({found: unsure, default: unsure}) is None


@pytest.mark.e2e
def test_advice_on_a_small_world(stream_folder, deployment, tmp_path, monkeypatch):
    few = [BEST, Candidate(4.0, "pet+pst", "direct", 1.0)]
    monkeypatch.setattr(advising, "candidates", lambda: few)
    experiment = Experiment(
        deployment="", tuning="2:3", reporting="4:6", batch_size=256, resamples=50, min_positives=50
    )
    with (tmp_path / "log").open("w") as log:
        progress = ExperimentProgress(Console(file=log, width=200))
        with Schedule(stream_folder, tmp_path / "trials", 2, progress.on_done) as schedule:
            found = advising.advise(experiment, deployment, schedule, budget_seconds=1, progress=progress)
    assert "round 1: 2 candidates" in (tmp_path / "log").read_text()
    assert found.candidate in few and found.seeds == 3
    assert len(found.rungs) == 1 and set(found.rungs[0]) == {one.name for one in few}
    assert np.isfinite(found.gain.value) and found.gain.both[0] < found.gain.value < found.gain.both[1]
    assert found.best in (found.candidate, few[0], None)
    assert dataclasses.asdict(found)["seconds"] > 0
    assert yaml.safe_dump(found.rungs)
