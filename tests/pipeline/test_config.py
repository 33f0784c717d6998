import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import yaml

from components.evaluation.severities import Severities
from eventlog.errors import BadInput
from models.settings import from_json, to_json
from pipeline.config import Deployment
from pipeline.config_file import load_deployment, read_document
from pipeline.roles import select_declared

CONFIGS = Path(__file__).parents[2] / "pipeline" / "configs"
SCHEMA = Path(__file__).parents[2] / "schema" / "impressions.pbtxt"


@pytest.fixture
def document():
    return read_document(CONFIGS / "kuairand.yaml")


@pytest.fixture
def message_of(tmp_path, document):
    """Loads the changed document and returns the error message."""
    shutil.copy(SCHEMA, tmp_path / "schema.pbtxt")
    document["schema"] = "schema.pbtxt"

    def load():
        path = tmp_path / "changed.yaml"
        path.write_text(yaml.safe_dump(document))
        with pytest.raises(BadInput) as caught:
            load_deployment(path)
        return str(caught.value).removeprefix(str(path))

    return load


@pytest.mark.parametrize(
    ("name", "surfaces"), [("kuairand.yaml", {"tab_1", "tab_0", "tab_4"}), ("demo.yaml", {"tab_1", "tab_0"})]
)
def test_the_shipped_configurations_load(name, surfaces):
    deployment = load_deployment(CONFIGS / name)

    assert set(deployment.surfaces) == surfaces
    assert len(deployment.tasks) == 7
    assert Path(deployment.schema).is_file()


def test_control_is_the_student_without_distillation():
    deployment = load_deployment(CONFIGS / "kuairand.yaml")
    student, control = deployment.student_job("tab_1"), deployment.control_job("tab_1")

    assert student.distilled_tasks
    assert control == dataclasses.replace(student, role="control", distillation={})


def test_only_the_teacher_has_history_features():
    deployment = load_deployment(CONFIGS / "kuairand.yaml")

    assert any(name.startswith("history_") for name in deployment.teacher_job().features)
    assert not any(name.startswith("history_") for name in deployment.student_job("tab_1").features)


def test_a_feature_without_buckets_takes_its_vocabulary_from_the_schema(tmp_path, document):
    schema = (
        SCHEMA.read_text()
        + """
        feature { name: "land" type: BYTES string_domain { value: "DE" value: "AT" } }
        feature { name: "laender" type: BYTES value_count { min: 1 } string_domain { value: "CH" } }
    """
    )
    (tmp_path / "schema.pbtxt").write_text(schema)
    document["schema"] = "schema.pbtxt"
    document["features"] |= {"land": {"kind": "id"}, "laender": {"kind": "bag", "served_as": ["CH"]}}
    path = tmp_path / "deployment.yaml"
    path.write_text(yaml.safe_dump(document))
    deployment = load_deployment(path)
    assert deployment.features["land"].vocabulary == ("DE", "AT")
    assert deployment.features["laender"].vocabulary == ("CH",)
    assert deployment.features["laender"].served_as == ("CH",)
    assert from_json(Deployment, to_json(deployment)) == deployment


def test_a_surface_can_replace_the_student(tmp_path, document):
    shutil.copy(SCHEMA, tmp_path / "schema.pbtxt")
    document["schema"] = "schema.pbtxt"
    document["surfaces"]["tab_0"] = {"student": document["student"] | {"passes": 5}}
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(document))

    deployment = load_deployment(path)

    assert (deployment.student_job("tab_0").passes, deployment.student_job("tab_1").passes) == (5, 2)


def test_a_surface_that_reads_another_teachers_labels_has_separate_pins(tmp_path, document):
    shutil.copy(SCHEMA, tmp_path / "schema.pbtxt")
    document["schema"] = "schema.pbtxt"
    document["surfaces"]["tab_0"] = {"labels": {"teacher": "history-4x", "max_age_spans": 2}}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(document))

    deployment = load_deployment(path)

    fleet, source = deployment.label_source("tab_0")
    assert (fleet, source.teacher, source.max_age_spans) == ("students-history-4x", "history-4x", 2)
    fleet, source = deployment.label_source("tab_1")
    assert (fleet, source.teacher, source.max_age_spans) == ("students", "history-2x", None)


def test_a_deployment_survives_json():
    deployment = load_deployment(CONFIGS / "kuairand.yaml")

    assert from_json(Deployment, to_json(deployment)) == deployment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(join="bigquery"), r"join: bigquery needs events_table, got none"),
        (lambda d: d.update(spans_table="p.d.spans"), r"spans_table needs events_table, got none"),
        (
            lambda d: d.update(events_table="p.d.events"),
            r"events_table is used only by join: bigquery and spans_table, got 'p.d.events' without either",
        ),
        (
            lambda d: d.update(join="bigquery", events_table="p.d.events"),
            r"events_table needs a label_store in BigQuery, got 'delta:labels'",
        ),
        (lambda d: d.update(sed=1), r"^: sed: unknown key.*Did you mean 'seed'\?"),
        (lambda d: d["surfaces"]["tab_0"].update(coverag_floor=1), r"surfaces.tab_0.*'coverage_floor'\?"),
        (lambda d: d["student"]["distillation"]["click"].update(wight=1), r"click.*mean 'weight'\?"),
        (
            lambda d: d["tasks"]["click"].update(kind="foo"),
            r"tasks.click.kind.*'binary' or 'regression'.*'foo'",
        ),
        (lambda d: d.update(seed="17"), r"seed: wrong value.*got '17'"),
        (lambda d: d.pop("teacher"), r"teacher: wrong value: expected a value, got nothing"),
        (lambda d: d["student"]["features"].append("usr_id"), r"'usr_id'.*did you mean 'user_id'"),
        (lambda d: d["teacher"]["tasks"].remove("like"), r"distillation of 'like'.*Add it to teacher.tasks"),
        (lambda d: d.update(surfaces={}), r"surfaces must name at least one surface"),
        (
            lambda d: d["surfaces"].update(tab_0={"coverage_floor": 2.0}),
            r"surfaces\.tab_0\.coverage_floor: wrong value: expected less than or equal to 1, got 2\.0",
        ),
        (
            lambda d: d["surfaces"].update(tab_0={"coverage_floor": -0.1}),
            r"surfaces\.tab_0\.coverage_floor: wrong value: expected greater than or equal to 0, got -0\.1",
        ),
        (
            lambda d: d["surfaces"].update(tab_0={"student": d["student"] | {"pases": 2}}),
            r"surfaces\.tab_0\.student\.pases: unknown key.*Did you mean 'passes'\?",
        ),
        (lambda d: d.update(burn_in="3"), r"burn_in.*expected A:B.*got '3'"),
        (
            lambda d: d.update(history={"entities": {"user": "user_id"}, "task": ["click"]}),
            r"history\.task: unknown key.*Did you mean 'tasks'\?",
        ),
        (
            lambda d: d.update(history={"entities": {"user": "user_id"}, "window": {"span": 3}}),
            r"history\.window\.span: unknown key.*Did you mean 'spans'\?",
        ),
        (
            lambda d: d.update(history={"entities": {"user": "user_id"}, "window": {}}),
            r"history\.window: wrong value: .* a window has either spans or half_life",
        ),
        (
            lambda d: d.update(history={"entities": {"user": "user_id"}, "tasks": ["clik"]}),
            r"history.tasks names 'clik', which is not declared; did you mean 'click'",
        ),
        (
            lambda d: d.update(history={"entities": {"viewer": "usr_id"}}),
            r"no column usr_id in the schema.*Did you mean 'user_id'\?",
        ),
        (
            lambda d: d.update(history={"entities": {"user": "user_id"}}),
            r"column history_user_count in the schema: expected a column that history adds, got both",
        ),
        (lambda d: d.update(schema="nowhere.pbtxt"), r"schema: no such schema.*got nowhere.pbtxt"),
    ],
)
def test_a_wrong_setting_is_named_with_its_key(document, message_of, change, message):
    change(document)

    text = message_of()
    assert re.search(message, text), text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows_per_shard": 0}, "rows_per_shard: wrong value: expected greater than or equal to 1, got 0"),
        ({"seed": -1}, "seed: wrong value: expected greater than or equal to 0, got -1"),
        ({"seed": 2**70}, "seed: wrong value: expected less than 2147483648"),
        ({"evaluation": {"margin": float("nan")}}, "evaluation.margin: wrong value: expected a finite"),
        ({"evaluation": {"resamples": -1}}, "evaluation.resamples: wrong value: expected greater than"),
        ({"validation": {"late_after_spans": 0}}, "late_after_spans: wrong value: expected greater"),
        ({"surfaces": {"a": {"label_wait_seconds": float("inf")}}}, "label_wait_seconds: wrong value"),
        ({"surfaces": {"a": {"labels": {"max_age_spans": -1}}}}, "labels.max_age_spans: wrong value"),
        ({"steps": {"Trainer": {"cpus": 0.0}}}, "steps.Trainer.cpus: wrong value: expected greater than 0"),
        ({"name": "a" * 41}, "name: expected at most 40 letters, digits, _ and -"),
        ({"name": "a" * 40, "surfaces": {"b" * 13: {}}}, "expected at most 63 characters in the name"),
        ({"name": ""}, "name: expected at most 40 letters"),
        ({"fleet": "my fleet"}, "fleet: expected at most 40 letters, digits, _ and -"),
        ({"surfaces": {"../../elsewhere": {}}}, "surfaces: expected at most 40 letters"),
        ({"surfaces": {"a/b": {}}}, "surfaces: expected at most 40 letters"),
        ({"surfaces": {"": {}}}, "surfaces: expected at most 40 letters"),
        ({"surfaces": {"[x]": {}}}, "surfaces: expected at most 40 letters"),
        ({"surfaces": {"teacher": {}}}, "expected another name than teacher, bootstrap, relabelled"),
        ({"surfaces": {"bootstrap": {}}}, "surfaces: expected another name than teacher"),
        ({"surfaces": {"relabelled": {}}}, "surfaces: expected another name than teacher"),
        ({"label_store": "dleta:labels"}, "got 'dleta:labels'. Did you mean delta:?"),
        ({"label_store": "delta:"}, "label_store: expected a path or project after delta:"),
        ({"label_store": "delta:s3://bucket/labels"}, "label_store: expected a local path, got 's3://bucket/labels'"),
        ({"label_store": "delta:a%20b"}, "label_store: expected a path without control characters"),
        ({"beam_pipeline_args": ["--runner=NoSuchRunner"]}, "expected a Beam runner, got 'NoSuchRunner'"),
        ({"beam_pipeline_args": ["--runner=FlinkRuner"]}, "Did you mean FlinkRunner?"),
        ({"steps": {"Trainer": {"beam": ["--runner=x"]}}}, "steps.Trainer.beam: expected a Beam runner"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_value_that_no_run_can_use_is_refused_with_its_key(document, message_of, change, message):
    document |= change
    text = message_of()
    assert message in text, text
    assert "\n" not in text


@pytest.mark.parametrize(
    "runner",
    ["FnApiRunner", "DataflowRunner", "apache_beam.runners.direct.DirectRunner", "flink", "directrunner"],
)
def test_a_runner_of_beam_or_of_another_package_is_accepted(document, tmp_path, runner):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(document | {"beam_pipeline_args": [f"--runner={runner}"]}))
    assert load_deployment(path).beam_pipeline_args == (f"--runner={runner}",)


def test_a_missing_file_and_broken_yaml_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no such configuration"):
        load_deployment(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("name: [")
    with pytest.raises(
        BadInput, match=r"broken.yaml: not a configuration: .* line 1, column .*Correct the file"
    ):
        load_deployment(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"control_every": -1},
            "surfaces.tab_0.control_every: wrong value: expected greater than or equal to 0, got -1",
        ),
        ({"first_spans": "2:6"}, "surfaces.tab_0.first_spans must begin after the burn-in"),
        ({"first_spans": "many"}, "surfaces.tab_0.first_spans: spans: not a range of spans"),
        ({"push": {"task": "nap"}}, "surfaces.tab_0.push.task must be a task of the student, got 'nap'"),
        (
            {"push": {"task": "like", "alpha": 0.001}},
            "alpha 0.001 needs evaluation.resamples of at least 1 / alpha",
        ),
        ({"push": {"task": "ltv"}}, "surfaces.tab_0.push.task must not be delayed, got 'ltv'"),
    ],
)
def test_contradictory_settings_of_a_surface_are_refused(message_of, document, changes, message):
    document["surfaces"]["tab_0"] = changes

    assert message in message_of()


def test_the_version_depends_on_the_settings_and_not_on_file_locations(tmp_path, document):
    first = load_deployment(CONFIGS / "kuairand.yaml")
    moved = dataclasses.replace(first, schema=str(tmp_path / "impressions.pbtxt"))
    changed = dataclasses.replace(first, seed=first.seed + 1)

    assert len(first.settings_hash) == 12
    assert moved.settings_hash == first.settings_hash != changed.settings_hash


def test_a_surface_begins_after_the_burn_in_or_with_its_own_first_spans():
    deployment = load_deployment(CONFIGS / "demo.yaml")
    surface = dataclasses.replace(deployment.surfaces["tab_0"], first_spans="7:9")
    later = dataclasses.replace(deployment, surfaces=deployment.surfaces | {"tab_0": surface})

    assert list(later.exempt_spans("tab_0")) == [7, 8, 9]
    assert later.exempt_spans("tab_1") == range(5, 5)


@pytest.mark.parametrize(("join", "table"), [("beam", None), ("bigquery", "p.d.events")])
def test_join_decides_where_labels_and_examples_are_joined(join, table):
    deployment = dataclasses.replace(
        load_deployment(CONFIGS / "demo.yaml"),
        join=join,
        events_table="p.d.events",
        spans_table="p.d.spans",
        label_store="bigquery://p/d",
    )

    assert deployment.join_settings("tab_1").events_table == table


def test_validation_severities_are_those_of_the_configuration(tmp_path, document):
    shutil.copy(SCHEMA, tmp_path / "schema.pbtxt")
    document |= {"schema": "schema.pbtxt", "validation": {"drift": "stop", "refused_span": "skip"}}
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(document))

    severities = load_deployment(path).validation.severities

    assert severities == Severities(schema="stop", drift="stop", skew="warn")


def write_extending(folder, base=None, **keys):
    """A deployment in `folder` that extends `base`, by default the demo."""
    path = folder / "extending.yaml"
    path.write_text(yaml.safe_dump({"extends": str(base or CONFIGS / "demo.yaml"), **keys}))
    return path


def test_an_extending_file_changes_only_its_own_keys(tmp_path):
    base = load_deployment(CONFIGS / "demo.yaml")
    extending = load_deployment(write_extending(tmp_path, name="other", student={"passes": 5}))
    changed = dataclasses.replace(base.student, passes=5)
    assert extending == dataclasses.replace(base, name="other", student=changed)


def test_a_schema_of_an_extended_file_is_relative_to_that_file(tmp_path):
    (tmp_path / "base").mkdir()
    shutil.copy(SCHEMA, tmp_path / "base" / "own.pbtxt")
    base = write_extending(tmp_path / "base", schema="own.pbtxt")
    assert load_deployment(write_extending(tmp_path, base)).schema == str(tmp_path / "base" / "own.pbtxt")


@pytest.mark.parametrize(
    ("keys", "refusal"),
    [
        ({"extends": "none.yaml"}, "extending.yaml: extends: no such configuration: .*none.yaml"),
        ({"extends": "."}, "extending.yaml: extends: no such configuration: .*got no file"),
        ({"extends": ["a.yaml"]}, r"extends: wrong value: expected the path .*got \['a.yaml'\]"),
        ({"extends": "extending.yaml"}, "extends: a file extends itself"),
        ({"extends": "a" * 5000}, "extends: no such configuration"),
        (
            {"schema": "shipped:../setup.py"},
            "schema: no such schema: expected shipped: and one of impressions.pbtxt",
        ),
        ({"schema": "shipped:labels.bq.json"}, "got 'shipped:labels.bq.json'"),
        ({"schema": "a\0b"}, "schema: no such schema"),
    ],
)
def test_an_extends_or_schema_that_is_not_there_is_refused_in_one_line(tmp_path, keys, refusal):
    with pytest.raises(BadInput, match=refusal) as error:
        load_deployment(write_extending(tmp_path, **keys))
    assert "\n" not in str(error.value)


def test_a_file_of_another_encoding_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("name: caf\u00e9".encode("latin-1"))
    with pytest.raises(BadInput, match=r"latin\.yaml: not a configuration: expected UTF-8 text"):
        load_deployment(tmp_path / "latin.yaml")


def test_a_name_that_is_listed_twice_is_refused():
    with pytest.raises(ValueError, match=r"student\.features names 'a' once, got it twice\. Remove one"):
        select_declared("student.features", ("a", "b", "a"), {"a": 1, "b": 2})


def test_two_surfaces_cannot_have_the_same_earlier_name(document, message_of):
    document["surfaces"] = {"home": {"was": "tab_9"}, "feed": {"was": "tab_9"}}
    assert "`was` must name 'tab_9' once, got it twice" in message_of()
