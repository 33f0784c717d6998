import dataclasses
import multiprocessing

import numpy as np
import pytest

from eventlog.errors import BadInput
from experiments.trials.scheduler import TrialScheduler, group_by_graph
from experiments.trials.trial import SoftLabelSource, Trial
from models.distillation import Distillation


def test_a_group_shares_one_graph_and_is_no_larger_than_a_workers_share(deployment):
    def trial(job, seed, teacher=""):
        labels = SoftLabelSource(teacher=teacher, first_span=2) if teacher else None
        return Trial(
            job=dataclasses.replace(job, seed=seed),
            first_span=0,
            last_span=3,
            kept_from=1,
            label_source=labels,
        )

    control = deployment.control_job("tab_1")
    slow = dataclasses.replace(control, optimizer=dataclasses.replace(control.optimizer, learning_rate=0.01))
    student = deployment.student_job("tab_1")
    trials = [trial(job, seed) for seed in range(3) for job in (control, slow)]
    trials += [trial(student, seed, teacher=f"teacher-{seed}") for seed in range(2)]
    groups = [group for _, group in group_by_graph(trials, processes=2)]
    assert sorted(map(len, groups)) == [2, 2, 4]
    assert sorted(repr(trial) for group in groups for trial in group) == sorted(map(repr, trials))
    for group in groups:
        assert len({trial.job.role for trial in group}) == 1


@pytest.mark.slow
def test_trials_run_in_worker_processes_and_a_second_call_reads_their_results(
    stream_folder, deployment, tmp_path
):
    teacher = Trial(
        job=dataclasses.replace(deployment.teacher_job(), batch_size=512),
        first_span=0,
        last_span=4,
        kept_from=1,
    )
    num_left = []
    with TrialScheduler(stream_folder, tmp_path, 2, lambda trial, left: num_left.append(left)) as scheduler:
        teacher_result = scheduler.run([teacher])[0]
        job = dataclasses.replace(
            deployment.student_job("tab_1"), surface=None, batch_size=512,
            distillation={"click": Distillation(strategy="direct", weight=50.0)},
        )  # fmt: skip
        students = [
            Trial(
                job=job, first_span=0, last_span=4, kept_from=3,
                label_source=SoftLabelSource(teacher=scheduler.key(teacher), first_span=2,
                treatment=treatment),
            )
            for treatment in ("none", "permuted")
        ]  # fmt: skip
        student, placebo = scheduler.run(students)
        assert num_left == [0, 1, 0]
        again = scheduler.run([*students, teacher])
    assert num_left == [0, 1, 0]
    np.testing.assert_array_equal(again[0].predictions, student.predictions)
    # With so heavy a soft loss on the hard logit, the student predicts what its teacher predicts.
    where = np.isin(teacher_result.rows, student.rows)
    teacher_clicks = teacher_result.columns(("click",))[where, 0]
    student_correlation, placebo_correlation = (
        np.corrcoef(result.columns(("click",))[:, 0], teacher_clicks)[0, 1] for result in (student, placebo)
    )
    assert student_correlation > placebo_correlation + 0.1


@pytest.mark.slow
def test_a_killed_worker_raises_with_one_line(stream_folder, deployment, tmp_path):
    jobs = (deployment.teacher_job(), deployment.control_job("tab_1"))
    trials = [Trial(job=job, first_span=0, last_span=1, kept_from=1) for job in jobs]

    before = set(multiprocessing.active_children())

    def kill(trial, left):
        for process in set(multiprocessing.active_children()) - before:
            process.kill()

    raises = pytest.raises(BadInput, match=r"a worker was killed.*fewer --processes")
    with TrialScheduler(stream_folder, tmp_path, 1, kill) as scheduler, raises:
        scheduler.run(trials)
    assert len(list(tmp_path.glob("*.npz"))) == 1
