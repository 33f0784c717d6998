"""Compares the compiled DAGs with golden listings. UPDATE_GOLDEN=1 rewrites these; review the diff."""

import dataclasses
import os
from pathlib import Path

import pytest
from tfx.dsl.compiler.compiler import Compiler

from components.history.settings import History, HistorySource
from components.transforms.join_settings import JoinSettings
from models.settings import from_json
from pipeline.config_file import load_deployment
from pipeline.dag.pipelines import (
    burn_in_pipeline,
    relabel_pipeline,
    span_pipeline,
    surface_burn_in_pipeline,
)
from pipeline.paths import RunPaths
from tests.pipeline.listing import list_pipeline

REPOSITORY = Path(__file__).parents[3]
GOLDEN = REPOSITORY / "tests" / "golden"
PATHS = RunPaths(root=Path("/ROOT"), events=Path("/EVENTS"))


@pytest.fixture(scope="module")
def deployment():
    return load_deployment(REPOSITORY / "pipeline" / "configs" / "kuairand.yaml")


@pytest.fixture(scope="module")
def compiled(deployment):
    return {
        "burn-in": Compiler().compile(burn_in_pipeline(deployment, PATHS)),
        "surface-burn-in": Compiler().compile(surface_burn_in_pipeline(deployment, PATHS, "tab_1")),
        "span": Compiler().compile(span_pipeline(deployment, PATHS, 7)),
        "surface": Compiler().compile(span_pipeline(deployment, PATHS, 7, 2, ["tab_1"])),
        "teacher": Compiler().compile(span_pipeline(deployment, PATHS, 7, 0, ["teacher"])),
        "relabel": Compiler().compile(relabel_pipeline(deployment, PATHS, 7, 2)),
    }


@pytest.mark.parametrize("name", ["burn-in", "surface-burn-in", "surface", "teacher", "relabel"])
def test_the_dag_equals_its_golden_listing(compiled, name):
    text = list_pipeline(compiled[name]).replace(str(REPOSITORY), "/REPOSITORY")
    golden = GOLDEN / f"{name}_pipeline.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)

    assert text == golden.read_text()


def test_a_whole_span_has_the_nodes_of_the_teacher_and_of_each_surface(compiled):
    teacher, surface = set(nodes(compiled["teacher"])), set(nodes(compiled["surface"]))
    surface_nodes = {name for name in surface if name.endswith("_tab_1")}
    renamed = {name.replace("tab_1", other) for name in surface_nodes for other in ("tab_0", "tab_4")}

    assert len(surface_nodes) == 10
    assert set(nodes(compiled["span"])) == teacher | surface_nodes | renamed


def nodes(pipeline):
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in pipeline.nodes}


def ancestors(pipeline, node_id):
    upstream_ids, queue = set(), [node_id]
    by_id = nodes(pipeline)
    while queue:
        for upstream in by_id[queue.pop()].upstream_nodes:
            if upstream not in upstream_ids:
                upstream_ids.add(upstream)
                queue.append(upstream)
    return upstream_ids


def test_labels_do_not_wait_for_the_teachers_training(compiled):
    assert "Trainer_teacher" not in ancestors(compiled["span"], "SoftLabelBulkInferrer")


@pytest.mark.parametrize("name", ["burn-in", "span"])
def test_fitting_training_and_labelling_wait_for_the_validation(compiled, name):
    prefixes = ("Transform", "Trainer", "SoftLabel")
    node_ids = [node_id for node_id in nodes(compiled[name]) if node_id.startswith(prefixes)]

    assert len(node_ids) >= 2
    for node_id in node_ids:
        assert "SpanValidator" in ancestors(compiled[name], node_id), node_id


@pytest.mark.parametrize(("publisher", "surface"), [("SpanPublisher", ""), ("SpanPublisher_tab_1", "1")])
def test_a_branchs_span_record_is_written_last(compiled, publisher, surface):
    branch = {name for name in nodes(compiled["span"]) if name.partition("_tab_")[2] == surface}

    assert len(branch) > 5
    assert branch - {publisher} <= ancestors(compiled["span"], publisher)


def test_labels_wait_for_the_teachers_training_with_label_with_current(deployment):
    current = dataclasses.replace(deployment, label_with="current")
    compiled_current = Compiler().compile(span_pipeline(current, PATHS, 7))

    assert "Trainer_teacher" in ancestors(compiled_current, "SoftLabelBulkInferrer")


def test_tfx_evaluator_is_wired_only_with_tfma(deployment, compiled):
    switched = dataclasses.replace(
        deployment, evaluation=dataclasses.replace(deployment.evaluation, tfma=True)
    )
    sliced = nodes(Compiler().compile(span_pipeline(switched, PATHS, 7)))

    assert "Evaluator_tab_1" in sliced
    assert "Evaluator_tab_1" not in nodes(compiled["span"])


def parameter(pipeline, node_id, name):
    value = nodes(pipeline)[node_id].parameters.parameters[name].field_value
    return value.int_value or value.string_value


def test_a_surface_without_the_teacher_reads_its_own_rows_and_waits_for_no_labeller(compiled):
    ids = set(nodes(compiled["surface"]))

    assert "SpanExampleGen" in ids
    assert not {"SoftLabelBulkInferrer", "Trainer_teacher", "SpanStatistics"} & ids
    assert not [name for name in ids if name.endswith(("tab_0", "tab_4"))]
    assert parameter(compiled["surface"], "SpanExampleGen", "surface") == "tab_1"
    assert parameter(compiled["surface"], "SpanExampleGen", "version") == 2
    assert parameter(compiled["span"], "SpanExampleGen", "surface") == ""


def test_the_teachers_branch_trains_no_student(compiled):
    assert {"SoftLabelBulkInferrer", "Trainer_teacher"} <= set(nodes(compiled["teacher"]))
    assert not [name for name in nodes(compiled["teacher"]) if name.endswith("tab_1")]


def test_relabelling_trains_no_model_and_labels_the_given_span_version(compiled):
    assert set(nodes(compiled["relabel"])) == {
        "SpanState",
        "SpanExampleGen",
        "SoftLabelBulkInferrer",
        "SpanPublisher",
    }
    assert parameter(compiled["relabel"], "SoftLabelBulkInferrer", "span_version") == 2
    assert parameter(compiled["relabel"], "SpanPublisher", "branch") == "relabelled"


def test_only_a_superseding_relabelling_has_the_parameter_supersede(deployment, compiled):
    superseding = Compiler().compile(relabel_pipeline(deployment, PATHS, 7, 2, supersede=True))

    assert parameter(superseding, "SoftLabelBulkInferrer", "supersede") == 1
    for name in ("relabel", "span"):
        assert "supersede" not in nodes(compiled[name])["SoftLabelBulkInferrer"].parameters.parameters


def with_surface(deployment, **changes):
    surface = dataclasses.replace(deployment.surfaces["tab_1"], **changes)
    return dataclasses.replace(deployment, surfaces={"tab_1": surface})


def span_nodes(deployment, span):
    return nodes(Compiler().compile(span_pipeline(deployment, PATHS, span)))


def test_a_push_gate_decides_the_push(compiled, deployment):
    assert "PushGate_tab_1" in nodes(compiled["span"])["Pusher_tab_1"].upstream_nodes
    without = span_nodes(with_surface(deployment, push=None), 7)
    assert "PushGate_tab_1" not in without
    assert "CandidateCheck_student_tab_1" in without["Pusher_tab_1"].upstream_nodes


def test_a_control_trained_every_third_span_is_deferred_on_the_others(deployment):
    every_third = with_surface(deployment, control_every=3)
    for span, trained in ((6, True), (7, False), (8, False), (9, True)):
        ids = span_nodes(every_third, span)
        assert ("Trainer_control_tab_1" in ids) == trained
        assert ("TrainingDeferral_control_tab_1" in ids) == (not trained)
        assert "Trainer_student_tab_1" in ids


def test_without_a_control_nothing_is_trained_or_deferred(deployment):
    without = with_surface(deployment, control_every=0)
    burn_in = nodes(Compiler().compile(surface_burn_in_pipeline(without, PATHS, "tab_1")))
    for ids in (span_nodes(without, 7), burn_in):
        assert "Trainer_student_tab_1" in ids
        assert not [name for name in ids if "control" in name]


def test_the_join_gets_the_settings_of_its_surface(deployment):
    changed = with_surface(deployment, first_spans="6:7", without_labels="last", coverage_floor=0.5)
    compiled = Compiler().compile(span_pipeline(changed, PATHS, 7))
    settings = from_json(JoinSettings, parameter(compiled, "SoftLabelTransform_tab_1", "settings"))

    assert settings == changed.join_settings("tab_1")
    assert (settings.first_spans, settings.without_labels, settings.coverage_floor) == ("6:7", "last", 0.5)
    assert (settings.fleet, settings.source.teacher) == (deployment.fleet, deployment.teacher.name)
    assert tuple(settings.tasks) == deployment.teacher.tasks


@pytest.mark.parametrize(("runner", "packed"), [("FlinkRunner", True), ("FnApiRunner", False)])
def test_workers_elsewhere_get_this_projects_code(deployment, runner, packed):
    remote = dataclasses.replace(deployment, beam_pipeline_args=(f"--runner={runner}",))
    options = span_pipeline(remote, PATHS, 7).beam_pipeline_args
    assert any(option.startswith("--extra_package=") for option in options) == packed


@pytest.fixture(scope="module")
def with_history(deployment):
    history = History(entities={"viewer": "user_id"}, tasks=("click",))
    return dataclasses.replace(deployment, history=history)


def test_every_reader_adds_the_history_and_shares_its_state(with_history):
    source = HistorySource(history=with_history.history, log="/EVENTS", folder="/ROOT/history")
    for pipeline in (
        burn_in_pipeline(with_history, PATHS),
        surface_burn_in_pipeline(with_history, PATHS, "tab_1"),
        span_pipeline(with_history, PATHS, 7),
        span_pipeline(with_history, PATHS, 7, 2, ["tab_1"]),
        relabel_pipeline(with_history, PATHS, 7, 2),
    ):
        compiled = Compiler().compile(pipeline)
        assert from_json(HistorySource, parameter(compiled, "SpanExampleGen", "history")) == source


def test_with_a_history_the_schema_has_its_columns(compiled, with_history):
    for pipeline in (burn_in_pipeline(with_history, PATHS), span_pipeline(with_history, PATHS, 7)):
        ids = nodes(Compiler().compile(pipeline))
        assert "ExampleSchemaGen" in ids and "ImportSchemaGen" not in ids
    assert "ImportSchemaGen" in nodes(compiled["span"])


def test_only_a_join_in_bigquery_gets_the_history(with_history):
    in_bigquery = dataclasses.replace(
        with_history,
        join="bigquery",
        events_table="p.d.events",
        label_store="bigquery://p/d?staging=gs://b/s",
    )
    for deployment, expected in ((with_history, None), (in_bigquery, "/ROOT/history")):
        compiled = Compiler().compile(span_pipeline(deployment, PATHS, 7))
        settings = from_json(JoinSettings, parameter(compiled, "SoftLabelTransform_tab_1", "settings"))
        assert (settings.history and settings.history.folder) == expected
