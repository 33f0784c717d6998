import dataclasses

import numpy as np
import pytest

from eventlog.errors import BadInput
from experiments.trials.schedule import Schedule, _together
from experiments.trials.trial import SoftLabelSource, Trial
from models.distillation import Distillation


def test_a_worker_gets_what_one_graph_serves_and_no_more_than_its_share(deployment):
    def trial(job, seed, teacher=""):
        labels = SoftLabelSource(teacher=teacher, first_span=2) if teacher else None
        return Trial(
            job=dataclasses.replace(job, seed=seed), first_span=0, last_span=3, kept_from=1, labels=labels
        )

    control = deployment.control_job("tab_1")
    slow = dataclasses.replace(control, optimizer=dataclasses.replace(control.optimizer, learning_rate=0.01))
    student = deployment.student_job("tab_1")
    asked = [trial(job, seed) for seed in range(3) for job in (control, slow)]
    asked += [trial(student, seed, teacher=f"teacher-{seed}") for seed in range(2)]
    found = [together for _, together in _together(asked, processes=2)]
    assert sorted(map(len, found)) == [2, 2, 4]
    assert sorted(repr(one) for together in found for one in together) == sorted(map(repr, asked))
    for together in found:
        assert len({one.job.role for one in together}) == 1


@pytest.mark.e2e
def test_trials_run_in_processes_and_are_kept(stream_folder, deployment, tmp_path):
    teacher = Trial(
        job=dataclasses.replace(deployment.teacher_job(), batch_size=512),
        first_span=0,
        last_span=4,
        kept_from=1,
    )
    done = []
    with Schedule(stream_folder, tmp_path, 2, lambda trial, left: done.append(left)) as schedule:
        labels = schedule.run([teacher])[0]
        job = dataclasses.replace(
            deployment.student_job("tab_1"), surface=None, batch_size=512,
            distillation={"click": Distillation(strategy="direct", weight=50.0)},
        )  # fmt: skip
        students = [
            Trial(
                job=job, first_span=0, last_span=4, kept_from=3,
                labels=SoftLabelSource(teacher=schedule.key(teacher), first_span=2, treatment=treatment),
            )
            for treatment in ("none", "permuted")
        ]  # fmt: skip
        student, placebo = schedule.run(students)
        assert done == [0, 1, 0]
        again = schedule.run([*students, teacher])
    assert done == [0, 1, 0]
    np.testing.assert_array_equal(again[0].predictions, student.predictions)
    # So heavy a soft loss on the hard logit: the student says what its teacher says, the placebo does not.
    own = np.isin(labels.rows, student.rows)
    click = [kept.columns(("click",))[:, 0] for kept in (student, placebo)]
    of_teacher = labels.columns(("click",))[own, 0]
    near, far = (np.corrcoef(said, of_teacher)[0, 1] for said in click)
    assert near > far + 0.1


@pytest.mark.e2e
def test_a_killed_worker_is_told_in_one_line(stream_folder, deployment, tmp_path):
    jobs = (deployment.teacher_job(), deployment.control_job("tab_1"))
    trials = [Trial(job=job, first_span=0, last_span=1, kept_from=1) for job in jobs]

    def kill(trial, left):
        for process in schedule.workers.processes():
            process.kill()

    refused = pytest.raises(BadInput, match=r"a worker was killed.*fewer --processes")
    with Schedule(stream_folder, tmp_path, 1, kill) as schedule, refused:
        schedule.run(trials)
    assert len(list(tmp_path.glob("*.npz"))) == 1
