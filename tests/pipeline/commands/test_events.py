import shutil

import click.testing
import pyarrow.parquet as pq
import pytest

from pipeline.commands.events import events

FINISHED_BAR = "38;5;70m"
"""Color of rich's bar when all spans are done."""


@pytest.fixture
def log(clean_log, tmp_path):
    return shutil.copytree(clean_log, tmp_path / "log")


def spoil(log, span):
    (file,) = (log / f"span={span}").glob("part-*.parquet")
    pq.write_table(pq.read_table(file, partitioning=None).drop(["hour"]), file)


def check(log, **environment):
    command = ["check", "--events", str(log)]
    return click.testing.CliRunner(env=environment).invoke(events, command)


def test_a_log_without_a_fault_is_accepted(log):
    result = check(log)
    assert result.exit_code == 0
    assert f"{log}: 4 spans without a fault" in result.output


def test_the_spans_of_a_log_with_a_gap_are_checked_too(log):
    shutil.rmtree(log / "span=1")
    spoil(log, 2)
    result = check(log)
    assert result.exit_code == 2
    faulty, gap = [line for line in result.output.splitlines() if line.startswith("rankdistill: ")]
    assert "span=2" in faulty and "missing column hour" in faulty
    assert "span gap: expected every span from 0 to 3, got no complete span 1" in gap


def test_the_bar_is_full_after_a_faulty_last_span(log):
    spoil(log, 3)
    result = check(log, FORCE_COLOR="1", TERM="xterm-256color", COLORTERM="", COLUMNS="200")
    assert result.exit_code == 2
    assert FINISHED_BAR in result.output
