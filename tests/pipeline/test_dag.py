"""The compiled DAGs against golden files: UPDATE_GOLDEN=1 writes them anew; review the diff."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from google.protobuf import json_format
from tfx.dsl.compiler.compiler import Compiler

from pipeline.config import load
from pipeline.dag import bootstrap_pipeline, span_pipeline
from pipeline.place import Place

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="module")
def deployment():
    return load(REPOSITORY / "pipeline" / "configs" / "demo.yaml")


@pytest.fixture(scope="module")
def compiled(deployment):
    place = Place(root=Path("/ROOT"), events=Path("/EVENTS"))
    return {
        "bootstrap": Compiler().compile(bootstrap_pipeline(deployment, place)),
        "span": Compiler().compile(span_pipeline(deployment, place, 7)),
    }


@pytest.mark.parametrize("name", ["bootstrap", "span"])
def test_the_dag_is_the_golden_one(compiled, name):
    text = json_format.MessageToJson(compiled[name], sort_keys=True).replace(str(REPOSITORY), "/REPOSITORY")
    golden = GOLDEN / f"{name}_pipeline.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text + "\n")

    assert json.loads(text) == json.loads(golden.read_text())


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
    place = Place(root=Path("/ROOT"), events=Path("/EVENTS"))
    compiled_current = Compiler().compile(span_pipeline(current, place, 7))

    assert "Trainer_teacher" in ancestors(compiled_current, "SoftLabelBulkInferrer")


def test_tfx_evaluator_is_there_when_switched_on_alone(deployment, compiled):
    switched = dataclasses.replace(
        deployment, evaluation=dataclasses.replace(deployment.evaluation, tfma=True)
    )
    place = Place(root=Path("/ROOT"), events=Path("/EVENTS"))
    sliced = nodes(Compiler().compile(span_pipeline(switched, place, 7)))

    assert "Evaluator_tab_1" in sliced
    assert "Evaluator_tab_1" not in nodes(compiled["span"])
