import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.trials.workers import Piece, Workers, choice

ORPHAN = """
import multiprocessing, os, threading, time
from experiments.trials.workers import _end_with_parent
def work():
    threading.Thread(target=_end_with_parent, daemon=True).start()
    time.sleep(120)
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    print(worker.pid, flush=True)
    time.sleep(120)
"""


def test_a_worker_does_not_outlive_an_experiment_that_was_killed(tmp_path):
    (tmp_path / "parent.py").write_text(ORPHAN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, env=environment
    )
    worker = Path("/proc") / parent.stdout.readline().decode().strip()
    assert worker.is_dir()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while worker.is_dir() and (worker / "stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.1)


def test_a_worker_takes_what_it_knows_then_what_nobody_knows():
    ours, theirs, new = (Piece(graph, None) for graph in ("ours", "theirs", "new"))
    known = [{"ours"}, {"theirs"}]
    assert choice([theirs, new, ours], known, {}, 0) is ours
    assert choice([theirs, new, ours], known, {}, 1) is theirs
    assert choice([theirs, new], known, {}, 0) is new
    assert choice([], known, {}, 0) is None


@pytest.mark.parametrize(
    ("seconds", "helps"), [({"theirs": 5.0}, False), ({"theirs": 60.0}, True), ({}, True)]
)
def test_it_helps_another_out_but_leaves_it_a_last_short_piece(seconds, helps):
    pieces = [Piece("theirs", number) for number in range(2)]
    known = [{"ours"}, {"theirs"}]
    assert choice(pieces, known, seconds, 0) is pieces[1]
    assert choice(pieces[:1], known, seconds, 0) is (pieces[0] if helps else None)


def test_every_graph_stays_with_its_worker_from_call_to_call(tmp_path):
    workers = Workers(2, subprocess.run)
    graphs = ("a", "b")
    noted = {graph: ["sh", "-c", f"echo $PPID >> {tmp_path / graph}"] for graph in graphs}
    for _ in range(3):
        done = [piece.graph for piece in workers.run([Piece(graph, noted[graph]) for graph in graphs])]
        assert sorted(done) == ["a", "b"]
    workers.close(wait=True)
    of_a, of_b = ((tmp_path / graph).read_text().split() for graph in graphs)
    assert len(of_a) == len(of_b) == 3
    assert len(set(of_a)) == len(set(of_b)) == 1 and of_a[0] != of_b[0]
