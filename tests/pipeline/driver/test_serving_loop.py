"""A loop that has nothing to do yet: it waits, says so once, and stops when told to."""

import io
import os
import signal
import threading
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config_file import load_deployment
from pipeline.driver.due_spans import InputNotReady
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.driver.serving_loop import serve
from pipeline.paths import RunPaths


@pytest.fixture
def told():
    return io.StringIO()


@pytest.fixture
def loop(tmp_path, told):
    (tmp_path / "log").mkdir()
    deployment = load_deployment(Path(__file__).parents[3] / "pipeline" / "configs" / "demo.yaml")
    paths = RunPaths(tmp_path / "root", tmp_path / "log")
    paths.root.mkdir()
    return Loop(deployment, paths, Progress(Console(file=told, soft_wrap=True)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_for_the_burn_in_says_so_once_and_ends_at_a_signal(loop, told, number):
    threading.Timer(0.6, os.kill, [os.getpid(), number]).start()
    before = signal.getsignal(number)

    assert serve(loop, 0.05, until_caught_up=False) == (0, {})
    assert told.getvalue().count("waiting: ") == 1
    assert "the burn-in needs span 0: expected spans 0 to 4, got no spans" in told.getvalue()
    assert signal.getsignal(number) == before


def test_asked_to_catch_up_alone_it_does_not_wait(loop):
    with pytest.raises(InputNotReady, match="the burn-in needs span 0"):
        serve(loop, 0.05, until_caught_up=True)


def test_surfaces_apart_wait_for_the_teacher_s_features(loop, tmp_path):
    apart = Loop(
        loop.deployment,
        RunPaths(tmp_path / "phones", loop.paths.events, teacher_root=loop.paths.root),
        loop.progress,
        ["tab_1"],
    )
    with pytest.raises(
        InputNotReady, match="no feature graph: expected a bootstrap here, or that of the root given"
    ):
        apart.catch_up()
