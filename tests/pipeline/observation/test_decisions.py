import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.span_records import RELABELLED, TEACHER
from components.transforms.join_report import JoinReport
from eventlog.errors import BadInput
from pipeline.observation.decisions import Decision, decisions
from pipeline.observation.finished_spans import finished_spans
from tests.pipeline.conftest import certificate as certificate_files

ROOT = Path(__file__).parents[3]
GATE = (False, "control", "lower bound -0.0213 not above minus the margin 0.01")


def made(run, **options):
    return [
        (each.span, each.branch, each.what, each.outcome, each.reason)
        for each in decisions(run.deployment, run.paths, **options)
    ]


def test_a_span_in_which_all_is_well_shows_labels_joins_candidates_and_pushes_in_the_order_of_the_dag(run):
    run.surface(5, "tab_0")
    run.surface(5, "tab_1")
    run.teacher(5)
    assert made(run) == [
        (5, "teacher", "labels", "published", "300 rows, the teacher 1 spans behind"),
        (5, "teacher", "candidate", "blessed", "teacher: finite"),
        *(
            decision
            for surface in ("tab_1", "tab_0")
            for decision in (
                (5, surface, "join", "joined", "coverage 0.9950"),
                (5, surface, "candidate", "blessed", "student: finite"),
                (5, surface, "candidate", "blessed", "control: finite"),
                (5, surface, "push", "pushed", "rests on the candidate check: the surface has no gate"),
            )
        ),
    ]
    assert all(decision.is_routine for decision in decisions(run.deployment, run.paths))


def test_what_a_person_should_see_is_not_ordinary(run):
    report = JoinReport(surface="tab_1", decision="hard-only", reason="no label set")
    run.teacher(5, labels={"refusal": {"reason": "12 labels are no numbers"}}, discarded="diverged")
    run.surface(5, report=report, discarded={"student": "worse"}, roles=["student"])
    run.skip("tab_1", 6, "late: still missing")
    remarkable = [decision for decision in decisions(run.deployment, run.paths) if not decision.is_routine]
    assert remarkable == [
        Decision(5, "teacher", "labels", "refused", "12 labels are no numbers"),
        Decision(5, "teacher", "candidate", "discarded", "teacher: diverged"),
        Decision(5, "tab_1", "join", "hard-only", "no label set"),
        Decision(5, "tab_1", "candidate", "discarded", "student: worse"),
        Decision(6, "tab_1", "span", "skipped", "late: still missing"),
    ]


def test_a_push_says_what_it_rests_on(run):
    run.surface(5, gate=GATE)
    run.surface(6, gate=(True, "candidate check", "no control"))
    pushes = [decision for decision in made(run) if decision[2] == "push"]
    assert pushes == [
        (5, "tab_1", "push", "held back", f"rests on the control: {GATE[2]}"),
        (6, "tab_1", "push", "pushed", "rests on the candidate check: no control"),
    ]


def test_a_discarded_student_is_no_push_that_was_held_back(run):
    run.surface(5, discarded={"student": "worse"}, gate=GATE)
    assert "push" not in [decision[2] for decision in made(run)]


def test_each_anomaly_of_the_labels_is_a_warning(run):
    labels = {
        **certificate_files(5, rows=3, label_age_spans=2),
        "anomalies": {"drift": ["click: 0.4"], "skew": []},
    }
    run.teacher(5, labels=labels)
    assert (5, "teacher", "labels", "published", "3 rows, the teacher 2 spans behind") in made(run)
    assert (5, "teacher", "labels", "warned", "drift: click: 0.4") in made(run)


def test_each_anomaly_of_a_span_is_a_warning(run):
    anomalies = anomalies_pb2.Anomalies()
    kind = anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH
    anomalies.anomaly_info["video_id"].reason.add(
        type=kind, short_description="High distance", description="between current\nand previous is 0.4"
    )
    run.teacher(5, anomalies=anomalies)
    run.teacher(6, anomalies=anomalies_pb2.Anomalies())
    warning = "drift: video_id: High distance: between current and previous is 0.4"
    assert [decision for decision in made(run) if decision[2] == "data"] == [
        (5, "teacher", "data", "warned", warning)
    ]
    assert "data" not in [decision[2] for decision in made(run, data=False)]


def test_a_restated_span_is_labelled_again_and_learnt_by_nobody(run):
    run.teacher(5)
    run.skip("teacher", 6, "late: still missing")
    run.teacher(7)
    run.relabel(5, 2)
    run.relabel(6, 0)
    run.relabel(7, 1, labels={"refusal": {"reason": "unfit"}})
    revised = [decision for decision in made(run) if decision[2] == "revised"]
    assert revised == [
        (5, "relabelled", "revised", "labelled again", "version 2; no model trains on it"),
        (6, "relabelled", "revised", "labelled again", "version 0; no model trains on it"),
        (7, "relabelled", "revised", "not labelled", "version 1; no model trains on it"),
    ]


def test_a_backfill_restates_nothing(run):
    run.teacher(5)
    run.relabel(5, 0)
    assert [decision[2:4] for decision in made(run) if decision[1] == RELABELLED] == [("labels", "published")]


def test_a_reason_names_no_folder_and_no_set(run):
    set_id = "big.abc-00004.span-00005.0.0123456789ab"
    report = JoinReport(surface="tab_1", decision="last", reason=f"label set {set_id}: labels are too old")
    run.surface(5, report=report)
    run.skip("teacher", 5, f"{run.paths.events}/span=5: empty span")
    run.skip("teacher", 6, f"{run.paths.root}/artifacts/SpanExampleGen/examples/17: unreadable")
    assert [decision[4] for decision in made(run)[:2]] == [
        "the log/span=5: empty span",
        "label set of span 5: labels are too old",
    ]
    assert made(run)[-1][4] == "the root: unreadable"


def test_what_lies_there_no_more_is_not_told(run):
    run.teacher(5)
    shutil.rmtree(run.paths.artifacts)
    assert made(run) == []


def test_a_file_that_is_no_record_is_refused(run):
    run.teacher(5)
    path = Path(run.paths.records, TEACHER, "span-00005.json")
    path.write_text("{")
    with pytest.raises(BadInput, match=r"span-00005.json: unreadable: expected JSON, as a finished step"):
        finished_spans(run.paths, TEACHER)
    path.write_text('{"span": 5, "slot": {}}')
    with pytest.raises(BadInput, match=r"expected span, version, slots and skipped, .* 'slot'"):
        finished_spans(run.paths, TEACHER)


def test_records_from_before_spans_had_versions_are_read(run):
    folder = Path(run.paths.records, TEACHER)
    folder.mkdir(parents=True)
    (folder / "span-00007.json").write_text('{"span": 7, "slots": {"labels": "/somewhere"}}')
    (record,) = finished_spans(run.paths, TEACHER)
    assert (record.span, record.version, record.skipped) == (7, 0, "")


def test_neither_tfx_nor_tensorflow_is_imported():
    code = (
        "import sys, pipeline.observation.decisions;"
        "print({'tfx', 'tensorflow', 'apache_beam'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "set()\n"
