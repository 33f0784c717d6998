import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.trials.workers import WorkerPool, WorkItem, next_item

PARENT = """
import os, pathlib, sys, time
from experiments.trials.workers import WorkerPool, WorkItem
def work(path):
    pathlib.Path(path).write_text(str(os.getpid()))
    time.sleep(120)
if __name__ == "__main__":
    list(WorkerPool(1, work).run([WorkItem("graph", sys.argv[1])]))
"""


def wait_until(condition, message):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.1)


@pytest.mark.slow
def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    pid = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py", pid], env=environment)
    wait_until(lambda: pid.is_file() and pid.read_text(), "the worker did not start")
    worker = Path("/proc") / pid.read_text()
    assert worker.is_dir()
    parent.kill()
    parent.wait()
    wait_until(
        lambda: not worker.is_dir() or (worker / "stat").read_text().split()[2] == "Z",
        "the worker did not end",
    )


def test_a_worker_prefers_graphs_that_it_has_traced_then_graphs_that_no_worker_has_traced():
    first, second, untraced = (WorkItem(graph, None) for graph in ("first", "second", "untraced"))
    traced = [{"first"}, {"second"}]
    assert next_item([second, untraced, first], traced, {}, 0) is first
    assert next_item([second, untraced, first], traced, {}, 1) is second
    assert next_item([second, untraced], traced, {}, 0) is untraced
    assert next_item([], traced, {}, 0) is None


@pytest.mark.parametrize(
    ("seconds", "is_taken"), [({"second": 5.0}, False), ({"second": 60.0}, True), ({}, True)]
)
def test_a_worker_takes_another_workers_graph_but_not_its_last_short_item(seconds, is_taken):
    items = [WorkItem("second", number) for number in range(2)]
    traced = [{"first"}, {"second"}]
    assert next_item(items, traced, seconds, 0) is items[1]
    assert next_item(items[:1], traced, seconds, 0) is (items[0] if is_taken else None)


@pytest.mark.slow
def test_a_graph_stays_with_its_worker_in_later_calls(tmp_path):
    workers = WorkerPool(2, subprocess.run)
    graphs = ("a", "b")
    items = [WorkItem(graph, ["sh", "-c", f"echo $PPID >> {tmp_path / graph}"]) for graph in graphs]
    for _ in range(3):
        assert sorted(item.graph for item in workers.run(items)) == ["a", "b"]
    workers.close(wait=True)
    pids_of_a, pids_of_b = ((tmp_path / graph).read_text().split() for graph in graphs)
    assert len(pids_of_a) == len(pids_of_b) == 3
    assert len(set(pids_of_a)) == len(set(pids_of_b)) == 1 and pids_of_a[0] != pids_of_b[0]
