import dataclasses

import numpy as np
import pytest
import yaml
from rich.console import Console

from experiments.advice import advising
from experiments.advice.proposal_runner import deployed_hyperparameters
from experiments.advice.proposals import Proposal, proposals
from experiments.protocol.settings import ExperimentProtocol
from experiments.statistics.intervals import Estimate
from experiments.trials.progress import ExperimentProgress
from experiments.trials.scheduler import TrialScheduler

BEST = Proposal(4.0, "pet", "direct", 4.0)
PROTOCOL = ExperimentProtocol(
    deployment="", tuning="2:3", reporting="4:6", batch_size=256, resamples=50, min_positives=50
)


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
    line = advising.write_advice(advice(BEST, 0.01), PROTOCOL, weighted, small_config, tmp_path)
    assert line.startswith(
        "Advice: direct pet of 4x, weight 4. Evidence: criterion minus the control's with 5 seeds"
    )
    assert "direct pet of 4x, weight 4 +0.0200 [+0.0100, +0.0300], the paper's advice +0.0200" in line
    recommended = load_deployment(tmp_path / "recommended.yaml")
    assert recommended.teacher.architecture.trunk == (32,)
    distillation = recommended.student.distillation
    assert set(distillation) == {"click", "long_view", "watch_time"}
    assert distillation["click"].weight == 4.0
    assert (distillation["watch_time"].weight, recommended.tasks["watch_time"].weight) == (2.0, 0.5)


def with_student(deployment, **architecture):
    student = dataclasses.replace(
        deployment.student,
        architecture=dataclasses.replace(deployment.student.architecture, **architecture),
    )
    return dataclasses.replace(deployment, student=student)


def test_the_recommended_models_are_the_evaluated_ones(deployment, small_config, tmp_path):
    from pipeline.config_file import load_deployment

    crossed = with_student(deployment, cross_layers=2, dropout=0.25)
    advising.write_advice(advice(BEST, 0.01), PROTOCOL, crossed, small_config, tmp_path)
    recommended = load_deployment(tmp_path / "recommended.yaml")
    evaluated = BEST.teacher.job(
        crossed, crossed.seed, PROTOCOL.batch_size, deployed_hyperparameters(crossed.teacher)
    )
    assert recommended.teacher_job() == evaluated
    assert (evaluated.architecture.cross_layers, evaluated.architecture.dropout) == (2, 0.25)
    assert (recommended.teacher.batch_size, recommended.student.batch_size) == (256, 256)
    assert 256 not in (deployment.teacher.batch_size, deployment.student.batch_size)


def test_the_advice_names_the_surfaces_whose_own_student_is_not_changed(deployment, small_config, tmp_path):
    surfaces = deployment.surfaces | {
        "tab_0": dataclasses.replace(deployment.surfaces["tab_0"], student=deployment.student)
    }
    own = dataclasses.replace(deployment, surfaces=surfaces)
    line = advising.write_advice(advice(BEST, 0.01), PROTOCOL, own, small_config, tmp_path)
    assert line.endswith(" Not evaluated and not changed: surfaces.tab_0.student.")
    line = advising.write_advice(advice(BEST, 0.01), PROTOCOL, deployment, small_config, tmp_path)
    assert line.endswith("recommended.yaml")


def test_without_evidence_nothing_is_recommended(deployment, small_config, tmp_path):
    line = advising.write_advice(advice(None, -0.01), PROTOCOL, deployment, small_config, tmp_path)
    assert line.startswith("No evidence that distillation helps")
    assert not (tmp_path / "recommended.yaml").exists()


def test_the_proposal_with_the_largest_gain_above_zero_is_advised():
    default = proposals()[0]
    small, large = Estimate(0.01, (0.005, 0.02), None, 0.01), Estimate(0.02, (0.01, 0.03), None, 0.01)
    uncertain = Estimate(0.03, (-0.01, 0.07), None, 0.3)
    assert advising.best_with_evidence({BEST: large, default: small}) == BEST
    assert advising.best_with_evidence({BEST: small, default: large}) == default
    assert advising.best_with_evidence({BEST: uncertain, default: small}) == default
    assert advising.best_with_evidence({BEST: uncertain, default: uncertain}) is None


@pytest.mark.slow
def test_advice_on_a_small_world(stream_folder, deployment, tmp_path, monkeypatch):
    few = [BEST, Proposal(4.0, "pet+pst", "direct", 1.0)]
    monkeypatch.setattr(advising, "proposals", lambda: few)
    with (tmp_path / "log").open("w") as log:
        progress = ExperimentProgress(Console(file=log, width=200))
        with TrialScheduler(stream_folder, tmp_path / "trials", 2, progress.on_done) as scheduler:
            result = advising.advise(PROTOCOL, deployment, scheduler, budget_seconds=1, progress=progress)
    assert "round 1: 2 proposals" in (tmp_path / "log").read_text()
    assert result.search_best in few and result.seeds == 3
    assert len(result.rounds) == 1 and set(result.rounds[0]) == {proposal.name for proposal in few}
    low, high = result.gain.users_and_seeds
    assert np.isfinite(result.gain.value) and low < result.gain.value < high
    assert result.advised in (result.search_best, few[0], None)
    assert result.seconds > 0
    assert yaml.safe_dump(result.rounds)
