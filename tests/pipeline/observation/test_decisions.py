import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.span_records import RELABELLED
from components.transforms.join_report import JoinReport
from pipeline.observation.decisions import Decision, decisions
from tests.pipeline.conftest import certificate_files

ROOT = Path(__file__).parents[3]
GATE = (False, "control", "lower bound -0.0213 not above minus the margin 0.01")


def tuples(run, **options):
    return [dataclasses.astuple(decision) for decision in decisions(run.deployment, run.paths, **options)]


def test_a_routine_span_has_labels_joins_candidates_and_pushes_in_the_order_of_the_dag(run):
    run.surface(5, "tab_0")
    run.surface(5, "tab_1")
    run.teacher(5)
    assert tuples(run) == [
        (5, "teacher", "labels", "published", "300 rows, label age 1 spans"),
        (5, "teacher", "candidate", "blessed", "teacher: finite"),
        *(
            decision
            for surface in ("tab_1", "tab_0")
            for decision in (
                (5, surface, "join", "joined", "coverage 0.9950"),
                (5, surface, "candidate", "blessed", "student: finite"),
                (5, surface, "candidate", "blessed", "control: finite"),
                (5, surface, "push", "pushed", "based on the candidate check: the surface has no gate"),
            )
        ),
    ]
    assert all(decision.is_routine for decision in decisions(run.deployment, run.paths))


def test_refused_labels_discarded_candidates_and_skipped_spans_are_not_routine(run):
    report = JoinReport(surface="tab_1", decision="hard-only", reason="no label set")
    run.teacher(5, labels={"refusal": {"reason": "12 labels are NaN"}}, discarded="diverged")
    run.surface(5, report=report, discarded={"student": "worse"}, roles=["student"])
    run.skip("tab_1", 6, "late: still missing")
    notable = [decision for decision in decisions(run.deployment, run.paths) if not decision.is_routine]
    assert notable == [
        Decision(5, "teacher", "labels", "refused", "12 labels are NaN"),
        Decision(5, "teacher", "candidate", "discarded", "teacher: diverged"),
        Decision(5, "tab_1", "join", "hard-only", "no label set"),
        Decision(5, "tab_1", "candidate", "discarded", "student: worse"),
        Decision(6, "tab_1", "span", "skipped", "late: still missing"),
    ]


def test_the_reason_of_a_push_has_its_basis(run):
    run.surface(5, gate=GATE)
    run.surface(6, gate=(True, "candidate check", "no control"))
    pushes = [decision for decision in tuples(run) if decision[2] == "push"]
    assert pushes == [
        (5, "tab_1", "push", "held back", f"based on the control: {GATE[2]}"),
        (6, "tab_1", "push", "pushed", "based on the candidate check: no control"),
    ]


def test_a_push_whose_verdict_was_deleted_is_left_out(run):
    run.surface(5, gate=GATE)
    (file,) = run.paths.root.rglob("gate/*/*.json")
    file.unlink()
    assert "push" not in [decision[2] for decision in tuples(run)]


def test_a_discarded_student_has_no_push_decision(run):
    run.surface(5, discarded={"student": "worse"}, gate=GATE)
    assert "push" not in [decision[2] for decision in tuples(run)]


def test_each_anomaly_of_the_labels_is_a_warning(run):
    anomalies = {"anomalies": {"drift": ["click: 0.4"], "skew": []}}
    run.teacher(5, labels=certificate_files(5, rows=3, label_age_spans=2) | anomalies)
    assert (5, "teacher", "labels", "published", "3 rows, label age 2 spans") in tuples(run)
    assert (5, "teacher", "labels", "warned", "drift: click: 0.4") in tuples(run)


def test_each_anomaly_of_a_span_is_a_warning(run):
    anomalies = anomalies_pb2.Anomalies()
    kind = anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH
    anomalies.anomaly_info["video_id"].reason.add(
        type=kind, short_description="High distance", description="between current\nand previous is 0.4"
    )
    run.teacher(5, anomalies=anomalies)
    run.teacher(6, anomalies=anomalies_pb2.Anomalies())
    warning = "drift: video_id: High distance: between current and previous is 0.4"
    assert [decision for decision in tuples(run) if decision[2] == "data"] == [
        (5, "teacher", "data", "warned", warning)
    ]
    assert "data" not in [decision[2] for decision in tuples(run, with_anomalies=False)]


def test_a_revised_or_late_span_is_labelled_again_and_not_trained_on(run):
    run.teacher(5)
    run.skip("teacher", 6, "late: still missing")
    run.teacher(7)
    run.relabel(5, 2)
    run.relabel(6, 0)
    run.relabel(7, 1, labels={"refusal": {"reason": "unfit"}})
    revised = [decision for decision in tuples(run) if decision[2] == "revised"]
    assert revised == [
        (5, "relabelled", "revised", "labelled again", "version 2; no model trains on it"),
        (6, "relabelled", "revised", "labelled again", "version 0; no model trains on it"),
        (7, "relabelled", "revised", "not labelled", "version 1; no model trains on it"),
    ]


def test_a_backfilled_span_is_not_a_revised_span(run):
    run.teacher(5)
    run.relabel(5, 0)
    assert [decision[2:4] for decision in tuples(run) if decision[1] == RELABELLED] == [
        ("labels", "published")
    ]


def test_a_reason_has_no_folder_and_no_set_id(run):
    set_id = "big.abc-00004.span-00005.0.0123456789ab"
    report = JoinReport(surface="tab_1", decision="last", reason=f"label set {set_id}: labels are too old")
    run.surface(5, report=report)
    run.skip("teacher", 5, f"{run.paths.events}/span=5: empty span")
    run.skip("teacher", 6, f"{run.paths.root}/artifacts/SpanExampleGen/examples/17: unreadable")
    assert [decision[4] for decision in tuples(run)[:2]] == [
        "the log/span=5: empty span",
        "label set of span 5: labels are too old",
    ]
    assert tuples(run)[-1][4] == "the root: unreadable"


def test_decisions_need_the_files_of_the_artifacts(run):
    run.teacher(5)
    shutil.rmtree(run.paths.artifacts)
    assert tuples(run) == []


def test_neither_tfx_nor_tensorflow_is_imported():
    code = (
        "import sys, pipeline.observation.decisions;"
        "print({'tfx', 'tensorflow', 'apache_beam'} & set(sys.modules))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert completed.stdout == "set()\n"
