"""A changed configuration is compared with the one that a root has run with."""

import copy
import re

import pytest
import yaml
from google.protobuf import text_format

from components.event_schema import read_schema
from components.span_records import BURN_IN, SpanRecord, surface_burn_in, write_record
from eventlog.errors import BadInput
from pipeline.config_file import load_deployment, read_document
from pipeline.driver.changed_settings import accept_settings
from pipeline.paths import RunPaths
from tests.conftest import REPOSITORY

SURFACES = ("tab_1", "tab_0")


@pytest.fixture
def document():
    document = read_document(REPOSITORY / "pipeline" / "configs" / "demo.yaml")
    document["schema"] = str(REPOSITORY / "schema" / "impressions.pbtxt")
    return document


@pytest.fixture
def load(tmp_path):
    def load_document(document):
        path = tmp_path / "deployment.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return load_deployment(path)

    return load_document


@pytest.fixture
def paths(tmp_path, load, document):
    """A root with the demo's configuration; all branches have run their burn-in."""
    paths = RunPaths(tmp_path / "root", tmp_path / "events")
    assert accept_settings(load(document), paths) == []
    write_record(paths.records, BURN_IN, SpanRecord(span=4, slots={"teacher": "T", "transform_graph": "G"}))
    for surface in SURFACES:
        write_record(paths.records, surface_burn_in(surface), SpanRecord(span=4))
    return paths


def changed(document, key, value):
    document = copy.deepcopy(document)
    *parents, last = key.split(".")
    target = document
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value
    return document


def test_the_same_configuration_changes_nothing(load, document, paths):
    written = paths.deployment.stat().st_mtime_ns
    assert accept_settings(load(document), paths) == []
    assert paths.deployment.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("teacher.optimizer.learning_rate", 0.02, "teacher.optimizer.learning_rate: 0.1 -> 0.02"),
        ("student.batch_size", 32, "student.batch_size: 128 -> 32"),
        ("student.distillation.click.weight", 3.0, "student.distillation.click.weight: 8.0 -> 3.0"),
        ("seed", 5, "seed: 17 -> 5"),
        ("surfaces.tab_0.coverage_floor", 0.5, "surfaces.tab_0.coverage_floor: 0.95 -> 0.5"),
        ("label_store", "delta:other", 'label_store: "delta:labels" -> "delta:other"'),
    ],
)
def test_a_change_that_the_models_allow_is_reported_once(load, document, paths, key, value, line):
    deployment = load(changed(document, key, value))
    assert accept_settings(deployment, paths) == [line]
    assert accept_settings(deployment, paths) == []


def test_a_new_or_removed_surface_is_one_line(load, document, paths):
    with_another = load(changed(document, "surfaces.tab_4", {}))
    (line,) = accept_settings(with_another, paths)
    assert re.fullmatch(r"surfaces\.tab_4: none -> \d+ settings", line)
    (line,) = accept_settings(load(document), paths)
    assert re.fullmatch(r"surfaces\.tab_4: \d+ settings -> none", line)


@pytest.mark.parametrize(
    ("key", "value", "refusal"),
    [
        ("name", "other", "name 'other' instead of 'demo' needs a new root"),
        ("burn_in", "0:5", "burn_in 0:5 instead of 0:4 needs a new teacher"),
        ("teacher.name", "bigger", "teacher.name 'bigger' instead of 'history-2x' needs a new teacher"),
        ("teacher.architecture.trunk", [8], "another architecture of the teacher needs a new teacher"),
        (
            "teacher.tasks",
            ["click", "long_view", "watch_time", "like", "profile_enter", "ltv"],
            "tasks of the",
        ),
        ("teacher.optimizer.clippy", False, "another optimizer of the teacher needs a new teacher"),
        ("features.hour.buckets", 25, "another features.hour needs a new feature version"),
        ("tasks.ltv.delay", 2, "another tasks.ltv.delay needs a new teacher"),
        ("tasks.watch_time.loss", "ziln", "another tasks of the student of tab_0 needs a new student"),
        (
            "student.architecture.embedding_size",
            4,
            "another architecture of the student of tab_1 needs a new",
        ),
        ("student.features", ["video_id", "user_id"], "another features of the student of tab_1 needs a new"),
        ("student.distillation.click.strategy", "direct", "another soft heads of the student of tab_1"),
    ],
)
def test_a_change_that_needs_new_models_is_refused_before_a_span(load, document, paths, key, value, refusal):
    before = paths.deployment.read_bytes()
    with pytest.raises(BadInput, match="the root cannot take these changes") as caught:
        accept_settings(load(changed(document, key, value)), paths)
    assert refusal in str(caught.value)
    assert paths.deployment.read_bytes() == before


def test_of_many_refused_changes_six_are_listed(load, document, paths):
    for name in ("teacher", "student"):
        for feature in document[name]["features"]:
            if document["features"][feature]["kind"] == "id":
                document["features"][feature]["buckets"] = 77
    document["name"] = "other"
    with pytest.raises(BadInput) as caught:
        accept_settings(load(document), paths)
    assert str(caught.value).count(" needs ") == 6
    assert "more changes" in str(caught.value)


def test_a_new_feature_that_a_model_uses_needs_a_new_feature_version(load, document, paths):
    document["evaluation"]["tfma_slices"] = []
    feature = document["features"].pop("hour")
    without = copy.deepcopy(document)
    for role in ("teacher", "student"):
        without[role]["features"] = [name for name in without[role]["features"] if name != "hour"]
    paths.deployment.unlink()
    accept_settings(load(without), paths)
    document["features"]["hour"] = feature
    with pytest.raises(BadInput, match=r"another features\.hour needs a new feature version"):
        accept_settings(load(document), paths)
    lines = accept_settings(load(changed(without, "features.hour", feature)), paths)
    assert any(line.startswith("features.hour: none -> ") for line in lines), "no model uses it"


def test_all_refused_changes_are_named_in_one_line(load, document, paths):
    twice = changed(changed(document, "name", "other"), "features.hour.buckets", 25)
    with pytest.raises(BadInput, match=r"name 'other'.*; another features\.hour") as caught:
        accept_settings(load(twice), paths)
    assert "\n" not in str(caught.value)


def test_the_root_of_a_students_loop_does_not_compare_the_teacher(load, document, paths):
    write_record(paths.records, BURN_IN, SpanRecord(span=4, slots={"transform_graph": "G"}))
    lines = accept_settings(load(changed(document, "teacher.architecture.trunk", [8])), paths)
    assert lines == ["teacher.architecture.trunk: [256, 128] -> [8]"]
    with pytest.raises(BadInput, match="another architecture of the student of tab_0"):
        accept_settings(load(changed(document, "student.architecture.trunk", [8])), paths)


def test_before_the_first_burn_in_every_setting_but_the_name_may_change(load, document, tmp_path):
    paths = RunPaths(tmp_path / "new", tmp_path / "events")
    accept_settings(load(document), paths)
    bigger = load(changed(document, "teacher.architecture.trunk", [8]))
    assert accept_settings(bigger, paths) == ["teacher.architecture.trunk: [256, 128] -> [8]"]


def test_a_configuration_of_another_version_is_refused_in_one_line(load, document, paths):
    paths.deployment.write_text('{"name": "demo", "unknown_setting": 1}')
    with pytest.raises(BadInput, match=r"deployment\.json: the root's configuration cannot be read"):
        accept_settings(load(document), paths)


def test_a_root_without_a_recorded_configuration_records_it(load, document, paths):
    paths.deployment.unlink()
    assert accept_settings(load(document), paths) == []
    assert accept_settings(load(changed(document, "seed", 5)), paths) == ["seed: 17 -> 5"]


HISTORY = {
    "entities": {"user": "user_id"},
    "tasks": ["click"],
    "sequences": {"recent": {"entity": "user", "column": "video_id", "length": 5}},
}


@pytest.fixture
def with_history(document, paths, load):
    """The demo with a history of its own; only the sequence is a feature."""
    for name in [name for name in document["features"] if name.startswith("history_")]:
        del document["features"][name]
    document["teacher"]["features"] = ["user_id", "video_id", "sequence_recent"]
    document["features"]["sequence_recent"] = {"kind": "bag", "buckets": 50}
    document["features"]["history_user_click"] = {"kind": "number"}
    schema = read_schema(REPOSITORY / "schema" / "impressions.pbtxt")
    others = [column for column in schema.feature if not column.name.startswith("history_")]
    del schema.feature[:]
    schema.feature.extend(others)
    file = paths.root / "schema.pbtxt"
    file.write_text(text_format.MessageToString(schema))
    document["schema"] = str(file)
    document["history"] = HISTORY
    paths.deployment.unlink()
    accept_settings(load(document), paths)
    return document


@pytest.mark.parametrize("key", ["sequences.recent.length", "window", "entities.user"])
def test_another_history_of_a_used_feature_needs_a_new_feature_version(load, with_history, paths, key):
    value = {"sequences.recent.length": 6, "window": {"spans": 3}, "entities.user": "cluster_id"}[key]
    with pytest.raises(
        BadInput, match=r"another history of features\.sequence_recent needs a new feature vers"
    ):
        accept_settings(load(changed(with_history, f"history.{key}", value)), paths)


@pytest.mark.parametrize(
    ("key", "value"), [("shards", 9), ("prior_strength", 3.0), ("tasks", ["click", "like"])]
)
def test_a_change_of_the_history_that_no_used_feature_notices_is_reported(
    load, with_history, paths, key, value
):
    lines = accept_settings(load(changed(with_history, f"history.{key}", value)), paths)
    assert [line.partition(":")[0] for line in lines] == [f"history.{key}"]
