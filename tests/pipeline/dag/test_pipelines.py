"""The compiled DAGs against golden listings: UPDATE_GOLDEN=1 rewrites them; review the diff."""

import dataclasses
import os
from pathlib import Path

import pytest
from tfx.dsl.compiler.compiler import Compiler

from pipeline.config_file import load_deployment
from pipeline.dag.pipelines import bootstrap_pipeline, relabel_pipeline, span_pipeline
from pipeline.paths import RunPaths
from tests.pipeline.listing import list_pipeline

REPOSITORY = Path(__file__).parents[3]
GOLDEN = REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="module")
def deployment():
    return load_deployment(REPOSITORY / "pipeline" / "configs" / "demo.yaml")


@pytest.fixture(scope="module")
def compiled(deployment):
    paths = RunPaths(root=Path("/ROOT"), events=Path("/EVENTS"))
    return {
        "bootstrap": Compiler().compile(bootstrap_pipeline(deployment, paths)),
        "span": Compiler().compile(span_pipeline(deployment, paths, 7)),
        "surface": Compiler().compile(span_pipeline(deployment, paths, 7, 2, ["tab_1"])),
        "teacher": Compiler().compile(span_pipeline(deployment, paths, 7, 0, ["teacher"])),
        "relabel": Compiler().compile(relabel_pipeline(deployment, paths, 7, 2)),
    }


@pytest.mark.parametrize("name", ["bootstrap", "surface", "teacher", "relabel"])
def test_the_dag_is_the_golden_one(compiled, name):
    text = list_pipeline(compiled[name]).replace(str(REPOSITORY), "/REPOSITORY")
    golden = GOLDEN / f"{name}_pipeline.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)

    assert text == golden.read_text()


def test_a_whole_span_has_the_nodes_of_the_teacher_and_of_each_surface(compiled):
    teacher, surface = set(nodes(compiled["teacher"])), set(nodes(compiled["surface"]))
    of_surface = {name for name in surface if name.endswith("_tab_1")}
    renamed = {name.replace("tab_1", other) for name in of_surface for other in ("tab_0", "tab_4")}

    assert len(of_surface) == 10
    assert set(nodes(compiled["span"])) == teacher | of_surface | renamed


def nodes(pipeline):
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in pipeline.nodes}


def ancestors(pipeline, node_id):
    found, waiting = set(), [node_id]
    by_id = nodes(pipeline)
    while waiting:
        for upstream in by_id[waiting.pop()].upstream_nodes:
            if upstream not in found:
                found.add(upstream)
                waiting.append(upstream)
    return found


def test_labels_do_not_wait_for_the_teachers_training(compiled):
    assert "Trainer_teacher" not in ancestors(compiled["span"], "SoftLabelBulkInferrer")


@pytest.mark.parametrize("name", ["bootstrap", "span"])
def test_nothing_is_fitted_trained_or_labelled_before_the_span_is_validated(compiled, name):
    learning = [one for one in nodes(compiled[name]) if one.startswith(("Transform", "Trainer", "SoftLabel"))]

    assert len(learning) >= 2
    for node_id in learning:
        assert "SpanValidator" in ancestors(compiled[name], node_id), node_id


@pytest.mark.parametrize(("publisher", "surface"), [("SpanPublisher", ""), ("SpanPublisher_tab_1", "1")])
def test_a_branchs_span_is_recorded_after_all_it_does(compiled, publisher, surface):
    own = {name for name in nodes(compiled["span"]) if name.partition("_tab_")[2] == surface}

    assert len(own) > 5
    assert own - {publisher} <= ancestors(compiled["span"], publisher)


def test_with_current_labels_wait_for_the_teachers_training(deployment):
    current = dataclasses.replace(deployment, label_with="current")
    paths = RunPaths(root=Path("/ROOT"), events=Path("/EVENTS"))
    compiled_current = Compiler().compile(span_pipeline(current, paths, 7))

    assert "Trainer_teacher" in ancestors(compiled_current, "SoftLabelBulkInferrer")


def test_tfx_evaluator_is_there_when_switched_on_alone(deployment, compiled):
    switched = dataclasses.replace(
        deployment, evaluation=dataclasses.replace(deployment.evaluation, tfma=True)
    )
    paths = RunPaths(root=Path("/ROOT"), events=Path("/EVENTS"))
    sliced = nodes(Compiler().compile(span_pipeline(switched, paths, 7)))

    assert "Evaluator_tab_1" in sliced
    assert "Evaluator_tab_1" not in nodes(compiled["span"])


def parameter(pipeline, node_id, name):
    value = nodes(pipeline)[node_id].parameters.parameters[name].field_value
    return value.int_value or value.string_value


def test_a_surface_apart_reads_its_own_rows_and_waits_for_no_labeller(compiled):
    ids = set(nodes(compiled["surface"]))

    assert "SpanExampleGen" in ids
    assert not {"SoftLabelBulkInferrer", "Trainer_teacher", "SpanStatistics"} & ids
    assert not [name for name in ids if name.endswith(("tab_0", "tab_4"))]
    assert parameter(compiled["surface"], "SpanExampleGen", "surface") == "tab_1"
    assert parameter(compiled["surface"], "SpanExampleGen", "version") == 2
    assert parameter(compiled["span"], "SpanExampleGen", "surface") == ""


def test_the_teacher_apart_trains_no_student(compiled):
    assert {"SoftLabelBulkInferrer", "Trainer_teacher"} <= set(nodes(compiled["teacher"]))
    assert not [name for name in nodes(compiled["teacher"]) if name.endswith("tab_1")]


def test_relabelling_trains_nobody_and_makes_a_set_of_the_span_s_version(compiled):
    assert set(nodes(compiled["relabel"])) == {
        "SpanState",
        "SpanExampleGen",
        "SoftLabelBulkInferrer",
        "SpanPublisher",
    }
    assert parameter(compiled["relabel"], "SoftLabelBulkInferrer", "span_version") == 2
    assert parameter(compiled["relabel"], "SpanPublisher", "branch") == "relabelled"


def with_surface(deployment, **changes):
    surface = dataclasses.replace(deployment.surfaces["tab_1"], **changes)
    return dataclasses.replace(deployment, surfaces={"tab_1": surface})


def span_nodes(deployment, span):
    paths = RunPaths(root=Path("/ROOT"), events=Path("/EVENTS"))
    return nodes(Compiler().compile(span_pipeline(deployment, paths, span)))


def test_with_a_gate_a_student_is_pushed_by_the_gate_s_decision(compiled, deployment):
    assert "PushGate_tab_1" in nodes(compiled["span"])["Pusher_tab_1"].upstream_nodes
    without = span_nodes(with_surface(deployment, push=None), 7)
    assert "PushGate_tab_1" not in without
    assert "CandidateCheck_student_tab_1" in without["Pusher_tab_1"].upstream_nodes


def test_a_control_of_every_third_span_is_deferred_on_the_others(deployment):
    every_third = with_surface(deployment, control_every=3)
    for span, trained in ((6, True), (7, False), (8, False), (9, True)):
        ids = span_nodes(every_third, span)
        assert ("Trainer_control_tab_1" in ids) == trained
        assert ("TrainingDeferral_control_tab_1" in ids) == (not trained)
        assert "Trainer_student_tab_1" in ids


def test_without_a_control_there_is_neither_training_nor_deferral(deployment):
    ids = span_nodes(with_surface(deployment, control_every=0), 7)
    assert not [name for name in ids if "control" in name]


def test_a_surface_s_bootstrap_is_exempt_from_its_policy(deployment):
    new = with_surface(deployment, bootstrap="6:7", without_labels="last")
    paths = RunPaths(root=Path("/ROOT"), events=Path("/EVENTS"))
    compiled = Compiler().compile(span_pipeline(new, paths, 7))
    assert parameter(compiled, "SoftLabelTransform_tab_1", "without_labels") == "last"
    assert parameter(compiled, "SoftLabelTransform_tab_1", "bootstrap") == "6:7"
