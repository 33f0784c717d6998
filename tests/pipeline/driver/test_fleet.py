import threading
from pathlib import Path

import pytest

from eventlog.errors import BadInput
from pipeline.config_file import load_deployment
from pipeline.driver.fleet import PROCESS_GIB, LoopProcess, plan_processes, run_fleet


@pytest.fixture
def deployment():
    return load_deployment(Path(__file__).parents[3] / "pipeline" / "configs" / "kuairand.yaml")


def test_surfaces_are_distributed_over_processes_and_the_teacher_has_its_own(deployment):
    assert plan_processes(deployment, 2, 100.0) == [
        LoopProcess("teacher", ("teacher",)),
        LoopProcess("students-0", ("tab_1", "tab_4")),
        LoopProcess("students-1", ("tab_0",)),
    ]


def test_there_are_at_most_as_many_processes_as_surfaces(deployment):
    assert len(plan_processes(deployment, 9, 100.0)) == 1 + 3


def test_memory_limits_the_number_of_processes(deployment):
    assert len(plan_processes(deployment, 3, 3 * PROCESS_GIB)) == 1 + 2
    with pytest.raises(BadInput, match=r"too little memory for a fleet: .* got 2 processes and 3 GiB"):
        plan_processes(deployment, 2, 3.0)


def test_a_process_that_fails_ends_the_fleet_with_its_exit_code(tmp_path):
    lines = []
    status = run_fleet([LoopProcess("teacher", ("teacher",))], tmp_path, [], lines.append, threading.Event())

    assert status == 2
    assert lines == [f"teacher ended with exit code 2; its log is {tmp_path / 'teacher.log'}"]
    assert "Missing option '--config'" in (tmp_path / "teacher.log").read_text()
