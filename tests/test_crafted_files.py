"""Parquet that carries code: at every entrance nothing runs, and the program ends in one line."""

import datetime

import pyarrow as pa
import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, row_schema
from components.label_store.schemes import open_store
from eventlog.simulator import simulate
from eventlog.spans import span_files

# Each script is one command: bad input ends it with one line and code 2.
CHECK_SPAN = """
import sys
from pathlib import Path
from eventlog.checks import check_span
from eventlog.kuairand.columns import LOG_COLUMNS
from pipeline.errors import exit_on_bad_input
exit_on_bad_input("check", lambda: check_span(Path(sys.argv[1]), 1, LOG_COLUMNS))
"""
COUNT_SURFACES = """
import sys
from pathlib import Path
from eventlog.spans import count_surfaces
from pipeline.errors import exit_on_bad_input
exit_on_bad_input("check", lambda: count_surfaces(Path(sys.argv[1]), [0, 1]))
"""
SCAN_LABELS = """
import sys
from components.label_store.schemes import open_store
from pipeline.errors import exit_on_bad_input
exit_on_bad_input("check", lambda: list(open_store(sys.argv[1]).scan(sys.argv[2], ["soft_click"])))
"""
VERIFY_LABELS = """
import sys
from pipeline.commands.labels import labels
from pipeline.errors import exit_on_bad_input
options = ["verify", "--store", *sys.argv[1:]]
exit_on_bad_input("check", lambda: labels(options, standalone_mode=False))
"""
LOAD_EXPERIMENT = """
import sys
from pathlib import Path
import models
from experiments.trials.loading import load_stream
from pipeline.config_file import load_deployment
from pipeline.errors import exit_on_bad_input
config, log, streams = map(Path, sys.argv[1:])
exit_on_bad_input("check", lambda: load_stream(load_deployment(config), log, streams))
"""


@pytest.fixture
def log(tmp_path):
    simulate(tmp_path / "log", spans=3, examples_per_span=200, seed=5)
    return tmp_path / "log"


@pytest.fixture
def published(tmp_path):
    """The URI of a store in files, the id of its one set, and the set's one file."""
    uri = f"delta:{tmp_path}/labels"
    day, schema = datetime.date(2022, 4, 25), row_schema(["click"])
    rows = pa.table([["a", "b"], [day] * 2, ["feed"] * 2, [0.5, 0.25]], schema=schema)
    columns = {"click": SoftColumn(kind="binary", link="sigmoid", unit="probability")}
    writer = open_store(uri).stage(LabelSetKey(teacher="big", teacher_version="7", span=3), columns)
    facts = SetFacts(feature_version="f1", label_age_spans=1, seconds=1.0)
    record = open_store(uri).publish(writer, [writer.write("s", rows)], facts)
    (file,) = (tmp_path / "labels").glob("label_set=*/*.parquet")
    return uri, record.set_id, file


def require_one_line(process, file):
    lines = process.stderr.splitlines()
    assert process.returncode == 2, process.stderr
    assert len(lines) == 1
    assert lines[0].startswith(f"check: {file}: data with code: expected columns of plain Arrow types")


@pytest.mark.parametrize("script", [CHECK_SPAN, COUNT_SURFACES])
def test_an_event_log_runs_nothing(log, craft, run_alone, script):
    (file,) = span_files(log, 1)
    marker = craft(file)
    process = run_alone(script, log)
    assert not marker.exists()
    require_one_line(process, file)


@pytest.mark.parametrize("script", [SCAN_LABELS, VERIFY_LABELS])
def test_a_file_of_the_label_store_runs_nothing(published, craft, run_alone, script):
    uri, set_id, file = published
    marker = craft(file)
    process = run_alone(script, uri, set_id)
    assert not marker.exists()
    require_one_line(process, file)


@pytest.mark.parametrize("span", [0, 2], ids=["read by a Beam worker", "read after the burn-in"])
def test_the_log_of_an_experiment_runs_nothing(log, craft, run_alone, small_config, tmp_path, span):
    (file,) = span_files(log, span)
    marker = craft(file)
    process = run_alone(LOAD_EXPERIMENT, small_config, log, tmp_path / "streams")
    assert not marker.exists()
    assert process.returncode == 2, process.stderr
    assert process.stderr.splitlines()[-1].startswith(f"check: {file}: data with code")
