"""Deferred spans: by a TrainingDeferral, and after a candidate is discarded."""

import pytest
from tfx.components.util import model_utils
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing

from components.candidate_check import CandidateCheck, judge_candidate
from components.training_deferral import TrainingDeferral, defer_span
from components.transforms.shards import SPLITS, split_folder, write_records
from models.job import TrainingJob
from models.settings import to_json
from models.state import (
    DIVERGED_FILE,
    EMPTY_MARKER,
    SERVING_FOLDER,
    STATE_FOLDER,
    StateRecord,
    deferred_shards,
    job_hash,
)
from tests.models.tiny_world import job


def examples_of(folder, span):
    """An Examples artifact whose records are the split's name and the span."""
    for split in SPLITS:
        name = f"span-{span:05d}-00000-of-00001.gz"
        write_records(f"{split_folder(str(folder), split)}/{name}", [f"{split} {span}".encode()])
    return artifact(Examples, folder)


def artifact(kind, folder):
    new = kind()
    new.uri = str(folder)
    return new


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model" / SERVING_FOLDER).mkdir(parents=True)
    (tmp_path / "model" / SERVING_FOLDER / "saved_model.pb").write_text("weights")
    return artifact(Model, tmp_path / "model")


def deferred_files(folder):
    paths = deferred_shards(f"{folder}/{SERVING_FOLDER}")
    return [path.removeprefix(f"{folder}/unlearned/") for path in paths]


def test_the_model_artifact_holds_a_deferred_span_without_its_held_out_clusters(model, tmp_path):
    target = artifact(Model, tmp_path / "copy")
    TrainingDeferral.test_call(model=model, examples=examples_of(tmp_path / "e3", 3), next_base=target)

    assert deferred_files(target.uri) == [
        "Split-matured/span-00003-00000-of-00001.gz",
        "Split-train/span-00003-00000-of-00001.gz",
    ]
    assert (tmp_path / "copy" / SERVING_FOLDER / "saved_model.pb").read_text() == "weights"
    assert deferred_files(model.uri) == []


def test_deferred_spans_accumulate(model, tmp_path):
    defer_span(model.uri, examples_of(tmp_path / "e3", 3).uri, str(tmp_path / "one"))
    defer_span(str(tmp_path / "one"), examples_of(tmp_path / "e4", 4).uri, str(tmp_path / "two"))

    spans = [path.rpartition("span-")[2][:5] for path in deferred_files(tmp_path / "two")]
    assert spans == ["00003", "00004"] * 2


def test_without_a_model_the_marker_holds_the_deferred_span(tmp_path):
    (tmp_path / "marker").mkdir()
    (tmp_path / "marker" / EMPTY_MARKER).touch()
    defer_span(str(tmp_path / "marker"), examples_of(tmp_path / "e3", 3).uri, str(tmp_path / "target"))

    assert (tmp_path / "target" / EMPTY_MARKER).exists()
    assert len(deferred_files(tmp_path / "target")) == 2
    assert deferred_shards(None) == []


def test_a_diverged_candidate_is_discarded_and_its_span_deferred_with_the_predecessor(model, tmp_path):
    (tmp_path / "candidate" / SERVING_FOLDER).mkdir(parents=True)
    (tmp_path / "candidate" / SERVING_FOLDER / DIVERGED_FILE).write_text("span 3: training diverged")
    blessing, good = artifact(ModelBlessing, tmp_path / "blessing"), artifact(Model, tmp_path / "good")
    teacher: TrainingJob = job("teacher")
    CandidateCheck.test_call(
        candidate=artifact(Model, tmp_path / "candidate"),
        predecessor=model,
        examples=examples_of(tmp_path / "e3", 3),
        blessing=blessing,
        next_base=good,
        job=to_json(teacher),
        margin=0.05,
    )

    assert not model_utils.is_model_blessed(blessing)
    assert blessing.get_string_custom_property("reason") == "span 3: training diverged"
    assert (tmp_path / "good" / SERVING_FOLDER / "saved_model.pb").read_text() == "weights"
    assert len(deferred_files(good.uri)) == 2


@pytest.mark.parametrize("predecessor_step", [None, 7])
def test_a_candidate_that_made_no_step_is_discarded(tmp_path, predecessor_step):
    """As if the surface had no row: with a predecessor of the same step, or as the first model."""
    step = predecessor_step or 0
    for name in ("candidate", "predecessor"):
        folder = tmp_path / name / STATE_FOLDER
        folder.mkdir(parents=True)
        teacher = job("teacher")
        record = StateRecord(
            feature_version="f", step=step, spans=[], role="teacher", surface=None,
            job_hash=job_hash(teacher), job=teacher,
        )  # fmt: skip
        (folder / "state.json").write_text(to_json(record))
        (tmp_path / name / SERVING_FOLDER).mkdir()
    predecessor = str(tmp_path / "predecessor") if predecessor_step is not None else None

    verdict = judge_candidate(str(tmp_path / "candidate"), predecessor, [], teacher, margin=1.0)

    assert not verdict.blessed
    assert verdict.reason == "it had no row to train on"
