from pathlib import Path

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.output_files import ANOMALIES_FILE
from components.span_records import TEACHER
from components.transforms.join_report import JoinReport
from eventlog.errors import BadInput
from models.shard_names import shard_name
from models.state import DEFERRED_FOLDER
from pipeline.observation.finished_spans import finished_spans
from tests.pipeline.conftest import set_id


def last_span(run, branch):
    return finished_spans(run.paths, branch)[-1]


def test_the_files_of_a_teacher_s_span_are_read(run):
    run.teacher(5, discarded="diverged")
    finished = last_span(run, TEACHER)

    assert (finished.certificate().set_id, finished.certificate().rows) == (set_id(5), 300)
    assert (finished.candidate_verdict("teacher").blessed, finished.label_refusal()) == (False, None)
    assert finished.join_report() is finished.gate_verdict() is finished.anomalies() is None
    assert finished.label_anomalies() == finished.figures() == {}


def test_the_files_of_a_surface_s_span_are_read(run):
    report = JoinReport(surface="tab_1", fresh_rows=8, labelled_fresh_rows=6)
    run.surface(5, report=report, gate=(False, "control", "worse"), figures={"click": {}})
    finished = last_span(run, "tab_1")

    assert finished.join_report() == report
    assert finished.join_report().label_sets == (set_id(5),)
    assert (finished.gate_verdict().rests_on, finished.figures()) == ("control", {"click": {}})
    assert finished.candidate_verdict("student").reason == "finite"
    assert finished.candidate_verdict("teacher") is finished.certificate() is None


def test_a_refusal_of_labels_replaces_the_certificate(run):
    run.teacher(5, labels={"refusal": {"reason": "unfit"}})

    assert (last_span(run, TEACHER).label_refusal(), last_span(run, TEACHER).certificate()) == ("unfit", None)


@pytest.mark.parametrize("content", ["{", "{}", '{"rows": "many"}'])
def test_an_unreadable_file_is_refused(run, content):
    run.teacher(5)
    Path(run.paths.artifacts, TEACHER, "labels", "5", "certificate.json").write_text(content)

    with pytest.raises(BadInput, match=r"certificate.json: unreadable: .* Restore the file from a copy\."):
        last_span(run, TEACHER).certificate()


def test_an_unreadable_file_of_anomalies_is_refused(run):
    run.teacher(5, anomalies=anomalies_pb2.Anomalies())
    (file,) = Path(run.paths.artifacts).rglob(ANOMALIES_FILE)
    file.write_bytes(b"\xff\xff")

    with pytest.raises(BadInput, match="unreadable: expected TFDV's anomalies"):
        last_span(run, TEACHER).anomalies()


def test_a_certificate_with_a_field_of_an_earlier_version_is_read(run):
    run.teacher(5)
    path = Path(run.paths.artifacts, TEACHER, "labels", "5", "certificate.json")
    path.write_text(path.read_text().replace("{", '{"distinct_ids": 300, ', 1))

    assert last_span(run, TEACHER).certificate().rows == 300


def test_a_file_that_is_not_a_record_is_refused(run):
    run.teacher(5)
    path = Path(run.paths.records, TEACHER, "span-00005.json")
    expected = "span-00005.json: unreadable span record: expected JSON with span, version, slots and skipped"
    path.write_text("{")
    with pytest.raises(BadInput, match=expected):
        finished_spans(run.paths, TEACHER)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=expected):
        finished_spans(run.paths, TEACHER)
    path.write_text('{"span": 5, "slot": {}}')
    with pytest.raises(BadInput, match=rf"{expected}, .*'slot'"):
        finished_spans(run.paths, TEACHER)


def test_a_record_without_a_version_is_read(run):
    folder = Path(run.paths.records, TEACHER)
    folder.mkdir(parents=True)
    (folder / "span-00007.json").write_text('{"span": 7, "slots": {"labels": "/somewhere"}}')

    (finished,) = finished_spans(run.paths, TEACHER)

    assert (finished.span, finished.version, finished.skipped) == (7, 0, "")


def test_deferred_spans_are_those_of_the_shards_in_the_model_folder(run, tmp_path):
    for split, span in (("train", 4), ("train", 3), ("holdout", 3)):
        folder = tmp_path / "model" / DEFERRED_FOLDER / f"Split-{split}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / shard_name(span, 0, 2)).touch()
    run.surface(5, student=str(tmp_path / "model"), control=str(tmp_path / "other"))
    finished = last_span(run, "tab_1")

    assert finished.deferred_spans("student") == [3, 4]
    assert finished.deferred_spans("control") == finished.deferred_spans("teacher") == []


def test_a_refusal_without_a_reason_is_refused(run):
    run.teacher(5, labels={"refusal": {}})

    with pytest.raises(BadInput, match=r"refusal.json: unreadable: expected JSON, .*reason"):
        last_span(run, TEACHER).label_refusal()


@pytest.mark.parametrize("kind", ["fresh", "matured"])
def test_missing_predictions_are_refused(run, kind):
    run.surface(5)
    finished = last_span(run, "tab_1")

    with pytest.raises(BadInput, match=rf"{kind}.parquet: unreadable predictions"):
        getattr(finished, f"{kind}_predictions")(run.deployment.tasks)
