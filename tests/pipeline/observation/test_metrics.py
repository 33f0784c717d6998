import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.transforms.join_report import JoinReport
from pipeline.observation.metrics import serve_metrics, write_metrics
from tests.pipeline.conftest import certificate_files

FIGURES = {
    "click": {
        "student": {"calibration": 1.25},
        "control": {"calibration": None},
        "teacher": {"calibration": 0.9},
    },
    "ltv": {"difference": {"rmse": [0, None, None]}},
}


@pytest.fixture
def metrics(run):
    """Writes the file and parses it: (name, label values in the order of their names) → value."""

    def read():
        write_metrics(run.deployment, run.paths)
        return parse((run.paths.root / "metrics.prom").read_text())

    return read


def parse(text):
    return {
        (sample.name.removeprefix("rankdistill_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_progress_coverage_label_age_and_calibration_are_those_of_the_last_span(run, metrics):
    run.teacher(5)
    run.teacher(6)
    run.surface(5, figures={})
    run.surface(6, figures=FIGURES, report=JoinReport(surface="tab_1", fresh_rows=8, labelled_fresh_rows=6))
    values = metrics()
    assert (values["last_span", "tab_1"], values["spans_behind", "tab_1"]) == (6, 3)
    record = Path(run.paths.records, "teacher", "span-00006.json")
    assert values["last_span_timestamp_seconds", "teacher"] == pytest.approx(record.stat().st_mtime)
    assert values["coverage", "tab_1"] == 0.75
    assert values["label_age_spans", "teacher"] == values["label_age_spans", "tab_1"] == 1
    calibration = {key[1:]: value for key, value in values.items() if key[0] == "calibration"}
    assert calibration == {("student", "tab_1", "click"): 1.25, ("teacher", "tab_1", "click"): 0.9}


def test_counters_add_up_the_recorded_spans(run, metrics):
    run.teacher(5, discarded="diverged")
    run.teacher(6, labels={"refusal": {"reason": "unfit"}})
    run.skip("teacher", 7, "empty")
    run.relabel(5, 1)
    run.surface(5, discarded={"control": "worse"})
    run.surface(6, gate=(False, "control", "worse"))
    last = JoinReport(surface="tab_1", fresh_rows=9, decision="last", reason="none")
    run.surface(7, roles=["student"], report=last)
    values = metrics()
    assert values["candidates_discarded_total", "teacher", "teacher"] == 1
    assert values["candidates_discarded_total", "tab_1", "student"] == 0
    assert values["candidates_discarded_total", "tab_1", "control"] == 1
    assert (values["labels_refused_total", "teacher"], values["labels_refused_total", "relabelled"]) == (1, 0)
    assert (values["spans_skipped_total", "teacher"], values["spans_skipped_total", "tab_1"]) == (1, 0)
    assert (values["pushes_total", "tab_1"], values["pushes_held_back_total", "tab_1"]) == (2, 1)
    assert values["spans_without_labels_total", "last", "tab_1"] == 1
    assert values["spans_without_labels_total", "hard-only", "tab_1"] == 0
    assert (values["rows_labelled_total", "teacher"], values["rows_labelled_total", "relabelled"]) == (
        300,
        300,
    )
    assert values["rows_trained_total", "tab_1"] == 2 * 250


def test_stages_of_the_last_span_are_in_seconds(run, metrics):
    times = {"event_ms": 1_000, "ready_ms": 3_500, "labelled_ms": 4_000}
    run.teacher(5, labels=certificate_files(5, rows=3))
    run.teacher(6, labels=certificate_files(6, rows=3, **times))
    values = metrics()
    assert values["stage_seconds", "teacher", "event_to_ready"] == 2.5
    assert values["stage_seconds", "teacher", "ready_to_labelled"] == 0.5
    assert ("stage_seconds", "teacher", "labelled_to_published") not in values


def test_branches_without_records_are_left_out(run, metrics):
    run.surface(5)
    assert {key[0] for key in metrics() if "teacher" in key or "tab_0" in key} == set()
    assert metrics()["last_span", "tab_1"] == 5


def test_a_branch_with_only_skipped_spans_has_metrics(run, metrics):
    run.skip("tab_1", 5, "empty")
    values = metrics()
    assert (values["spans_skipped_total", "tab_1"], values["spans_behind", "tab_1"]) == (1, 4)
    assert ("coverage", "tab_1") not in values


def test_calibration_is_that_of_the_last_span_that_was_not_skipped(run, metrics):
    run.surface(5, figures=FIGURES)
    run.skip("tab_1", 6, "empty")
    assert metrics()["calibration", "student", "tab_1", "click"] == 1.25


def test_a_root_without_records_has_an_empty_file(run, metrics):
    run.paths.root.mkdir()
    assert metrics() == {}
    assert [path.name for path in run.paths.root.iterdir()] == ["metrics.prom"]


def test_each_scrape_has_the_newest_records(run):
    run.teacher(5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve_metrics(port, run.deployment, run.paths)
    assert scrape(port)["last_span", "teacher"] == 5
    run.teacher(6)
    assert scrape(port)["last_span", "teacher"] == 6


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return parse(answer.read().decode())
