"""The serving loop without any pipeline: what it does while it waits, and how it ends."""

import io
import os
import signal

import pytest
from rich.console import Console

from components.span_records import BURN_IN, SpanRecord, surface_burn_in, write_record
from eventlog.errors import BadInput
from pipeline.config_file import load_deployment
from pipeline.driver.log_checks import InputNotReady
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.driver.serving_loop import run_until_stopped
from pipeline.observation.finished_spans import require_artifacts
from pipeline.paths import RunPaths
from tests.conftest import REPOSITORY


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def loop(tmp_path, output):
    (tmp_path / "log").mkdir()
    deployment = load_deployment(REPOSITORY / "pipeline" / "configs" / "kuairand.yaml")
    paths = RunPaths(tmp_path / "root", tmp_path / "log")
    paths.root.mkdir()
    return Loop(deployment, paths, Progress(Console(file=output, soft_wrap=True)))


class SignalAfterPolls:
    """Counts the reads of the log, and sends a signal to this process at the third."""

    def __init__(self, loop, number):
        self.catch_up, self.number, self.polls = loop.catch_up, number, 0

    def __call__(self):
        self.polls += 1
        if self.polls == 3:
            os.kill(os.getpid(), self.number)
        return self.catch_up()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_for_the_burn_in_reports_it_once_and_ends_at_a_signal(loop, output, number):
    before = signal.getsignal(number)
    loop.catch_up = polls = SignalAfterPolls(loop, number)

    assert run_until_stopped(loop, 0.0, until_caught_up=False) == (0, {})
    assert polls.polls == 3
    assert output.getvalue().count("waiting: ") == 1
    assert "the burn-in needs span 0: expected spans 0 to 4, got no spans" in output.getvalue()
    assert signal.getsignal(number) == before


def test_until_caught_up_it_does_not_wait(loop):
    with pytest.raises(InputNotReady, match="the burn-in needs span 0"):
        run_until_stopped(loop, 0.0, until_caught_up=True)


def test_surfaces_apart_wait_for_the_teachers_features(loop, tmp_path):
    apart = Loop(
        loop.deployment,
        RunPaths(tmp_path / "phones", loop.paths.events, teacher_root=loop.paths.root),
        loop.progress,
        ["tab_1"],
    )
    with pytest.raises(InputNotReady, match="no transform graph: expected a burn-in in this root"):
        apart.catch_up()


def test_a_surface_whose_burn_in_lacks_spans_does_not_stop_the_others(loop):
    record = SpanRecord(span=4, slots={"transform_graph": str(loop.paths.root)})
    write_record(loop.paths.records, BURN_IN, record)
    write_record(loop.paths.records, surface_burn_in("tab_0"), SpanRecord(span=4))
    write_record(loop.paths.records, "tab_4", SpanRecord(span=5))

    done, behind = loop.catch_up()

    assert done == [] and list(behind) == ["tab_1"], "tab_0 has recorded its burn-in, tab_4 a span"
    assert "the burn-in of tab_1 needs span 0: expected spans 0 to 4" in str(behind["tab_1"])


def test_a_moved_root_is_refused_with_the_path_that_it_lacks(loop, tmp_path):
    made = tmp_path / "made" / "artifacts" / "graph"
    made.mkdir(parents=True)
    write_record(loop.paths.records, BURN_IN, SpanRecord(span=4, slots={"transform_graph": str(made)}))
    require_artifacts(loop.paths)

    (tmp_path / "made").rename(tmp_path / "moved")

    with pytest.raises(
        BadInput, match=rf"the root was moved, or lost an artifact: expected the artifact {made}"
    ):
        loop.catch_up()
