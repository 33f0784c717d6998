from pathlib import Path

import pytest

from components.span_records import TEACHER
from eventlog.errors import BadInput
from models.shard_names import shard_name
from models.state import DEFERRED_FOLDER
from pipeline.observation.finished_spans import finished_spans

SURFACE = "tab_1"


def test_a_skipped_span_has_no_artifacts(run):
    run.skip(SURFACE, 5, "empty")
    (finished,) = finished_spans(run.paths, SURFACE)
    assert finished.certificate() is finished.label_refusal() is finished.join_report() is None
    assert finished.candidate_verdict("student") is finished.gate_verdict() is finished.anomalies() is None
    assert finished.label_anomalies() == finished.figures() == {}
    assert finished.deferred_spans("student") == []


def test_deferred_spans_are_those_of_the_shards_in_the_models_folder(run, tmp_path):
    for split, span in (("train", 4), ("train", 3), ("holdout", 3)):
        folder = tmp_path / "model" / DEFERRED_FOLDER / f"Split-{split}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / shard_name(span, 0, 2)).touch()
    run.surface(5, student=str(tmp_path / "model"), control=str(tmp_path / "other"))
    (finished,) = finished_spans(run.paths, SURFACE)
    assert finished.deferred_spans("student") == [3, 4]
    assert finished.deferred_spans("control") == []


def test_an_unreadable_file_is_refused_with_its_path_and_field(run):
    run.teacher(5)
    (finished,) = finished_spans(run.paths, TEACHER)
    verdict = Path(finished.slots["teacher_blessing"], "verdict.json")
    verdict.write_text('{"blessed": true}')
    with pytest.raises(BadInput, match=r"verdict.json: unreadable: expected JSON with all fields, .*reason"):
        finished.candidate_verdict("teacher")
    Path(finished.slots["labels"], "refusal.json").write_text("{}")
    with pytest.raises(BadInput, match=r"refusal.json: unreadable: expected JSON, .*reason"):
        finished.label_refusal()


def test_missing_predictions_are_refused(run):
    run.surface(5)
    (finished,) = finished_spans(run.paths, SURFACE)
    with pytest.raises(BadInput, match=r"fresh.parquet: unreadable predictions"):
        finished.fresh_predictions(run.deployment.tasks)
    with pytest.raises(BadInput, match=r"matured.parquet: unreadable predictions"):
        finished.matured_predictions(run.deployment.tasks)
