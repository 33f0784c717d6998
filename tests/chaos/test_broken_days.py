"""Two weeks of faulty, late, empty and revised spans: the loop finishes, the summary has every decision."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from components.label_store.schemes import open_store
from components.span_records import TEACHER, read_record, recorded_spans
from eventlog.simulator import simulate
from eventlog.spans import span_files, write_span
from models.state import STATE_FOLDER
from models.state import read_state_record as read_state
from pipeline.config_file import load_deployment
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.observation.metrics import write_metrics
from pipeline.observation.summary import summarize, write_summary
from pipeline.paths import RunPaths
from rankdistill.command_line import cli

pytestmark = pytest.mark.chaos

LATE, EMPTY, BROKEN, WITHOUT_SURFACE, NAN, REVISED_IN_TIME, REVISED_LATE = 5, 6, 7, 8, 9, 10, 11
SPANS = 16
SKIPPED = [LATE, EMPTY, BROKEN, NAN]


def rewrite(log, span, change):
    (file,) = span_files(log, span)
    pq.write_table(change(pq.read_table(file, partitioning=None)), file)


def with_column(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def newest(table, number):
    """The last rows by time, which are fresh rows."""
    return table.slice(table.num_rows - number)


def nan_labels(table):
    values = table["label_like"].to_numpy().copy()
    values[:] = np.nan
    return with_column(table, "label_like", pa.array(values, pa.float32(), from_pandas=False))


@pytest.fixture(scope="module")
def faultless_log(tmp_path_factory):
    """The log without faults."""
    log = tmp_path_factory.mktemp("whole") / "log"
    simulate(log, spans=SPANS, examples_per_span=400, seed=9)
    return log


@pytest.fixture(scope="module")
def paths(faultless_log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    log = folder / "log"
    shutil.copytree(faultless_log, log)
    shutil.rmtree(log / f"span={LATE}")
    rewrite(log, EMPTY, lambda table: table.slice(0, 0))
    rewrite(log, BROKEN, lambda table: with_column(table, "hour", table["hour"].cast(pa.string())))
    rewrite(log, WITHOUT_SURFACE, lambda table: table.filter(pc.not_equal(table["surface"], "tab_0")))
    rewrite(log, NAN, nan_labels)
    rows = pq.read_table(span_files(log, REVISED_IN_TIME)[0], partitioning=None)
    write_span(log, REVISED_IN_TIME, [newest(rows, 350)], version=1)
    return RunPaths(folder / "root", log)


@pytest.fixture(scope="module")
def config(small_document, tmp_path_factory):
    document = json.loads(json.dumps(small_document))
    document["validation"] = {"refused_span": "skip", "late_after_spans": 3}
    document["surfaces"]["tab_1"] = {"control_every": 2, "push": {"task": "click", "spans": 2}}
    document["surfaces"]["tab_0"] = {"control_every": 0, "push": {"task": "click"}}
    path = tmp_path_factory.mktemp("broken-config") / "broken.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def summary(config, faultless_log, paths):
    """Summary of the run: first the faulty log, then the late span and a revised span."""
    deployment = load_deployment(config)
    with paths.root.parent.joinpath("log.txt").open("w") as file:
        loop = Loop(deployment, paths, Progress(Console(file=file)))
        done, stuck = loop.catch_up(range(4, 13))
        assert stuck == {}
        shutil.copytree(faultless_log / f"span={LATE}", paths.events / f"span={LATE}")
        rows = pq.read_table(span_files(paths.events, REVISED_LATE)[0], partitioning=None)
        write_span(paths.events, REVISED_LATE, [newest(rows, 300)], version=1)
        done += loop.catch_up()[0]
    write_summary(summarize(deployment, paths), paths.summary)
    return json.loads(paths.summary.read_text())


def decisions(summary, span, branch=None):
    return [
        (decision["what"], decision["outcome"], decision["reason"])
        for decision in summary["decisions"]
        if decision["span"] == span and branch in (None, decision["branch"])
    ]


def test_every_span_is_recorded(summary, paths):
    for branch in (TEACHER, "tab_1", "tab_0"):
        assert recorded_spans(paths.records, branch) == list(range(4, SPANS))
    skipped = [decision for decision in summary["decisions"] if decision["what"] == "span"]
    assert [decision["span"] for decision in skipped if decision["branch"] == TEACHER] == SKIPPED


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (LATE, "late: still missing when 3 later spans were complete"),
        (EMPTY, "empty span: expected at least one fresh row"),
        (BROKEN, "wrong type of column hour: expected int64, got string"),
        (NAN, "NaN or infinity in column label_like"),
    ],
)
def test_an_unusable_span_is_skipped_by_all_branches_with_a_reason_in_the_summary(summary, span, reason):
    for branch in (TEACHER, "tab_1", "tab_0"):
        ((what, outcome, summary_reason),) = decisions(summary, span, branch)
        assert (what, outcome) == ("span", "skipped")
        assert reason in summary_reason


def test_a_late_or_revised_span_is_labelled_by_the_last_teacher_before_it_and_not_trained_on(
    summary, paths, config
):
    for span in (LATE, REVISED_LATE):
        assert ("revised", "labelled again") in [
            (what, outcome) for what, outcome, _ in decisions(summary, span, "relabelled")
        ]
    store = open_store(paths.label_store(load_deployment(config).label_store))
    sets = {(record.key.span, record.key.span_version): record for record in store.list_sets()}
    assert sets[LATE, 0].key.teacher_version.endswith("-00004")
    assert sets[REVISED_LATE, 0].key.teacher_version == sets[REVISED_LATE, 1].key.teacher_version
    assert (sets[REVISED_LATE, 0].rows, sets[REVISED_LATE, 1].rows) == (400, 300)
    teacher = read_record(paths.records, TEACHER, SPANS - 1).slots["teacher"]
    assert read_state(f"{teacher}/{STATE_FOLDER}").spans == [2, 3, 4, 8, 10, 11, 12, 13, 14, 15]


def test_a_span_revised_before_its_run_is_run_in_its_newest_version(paths, config):
    assert read_record(paths.records, TEACHER, REVISED_IN_TIME).version == 1
    store = open_store(paths.label_store(load_deployment(config).label_store))
    versions = [record.key.span_version for record in store.list_sets() if record.key.span == REVISED_IN_TIME]
    assert versions == [1]


def test_a_day_without_rows_of_a_surface_is_not_a_fault(summary, paths):
    outcomes = {(what, outcome) for what, outcome, _ in decisions(summary, WITHOUT_SURFACE, "tab_0")}
    assert ("join", "joined") in outcomes
    student = read_record(paths.records, "tab_0", WITHOUT_SURFACE).slots["student"]
    assert WITHOUT_SURFACE not in read_state(f"{student}/{STATE_FOLDER}").spans


def test_a_control_of_every_other_span_has_trained_on_all_and_a_disabled_one_is_absent(summary, paths):
    student, control = (
        read_state(f"{read_record(paths.records, 'tab_1', 14).slots[role]}/{STATE_FOLDER}").spans
        for role in ("student", "control")
    )
    assert student == control == [2, 3, 4, 8, 10, 11, 12, 13, 14]
    assert "control" not in read_record(paths.records, "tab_0", 12).slots
    reasons = [reason for what, _, reason in decisions(summary, 12, "tab_0") if what == "push"]
    assert reasons == [] or "candidate check" in reasons[0]


def test_status_and_metrics_can_read_the_root(config, paths, summary):
    command = ["status", "--config", str(config), "--events", str(paths.events), "--root", str(paths.root)]
    result = CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.output)
    write_metrics(load_deployment(config), paths)
    text = (paths.root / "metrics.prom").read_text()
    assert "spans_skipped_total" in text
