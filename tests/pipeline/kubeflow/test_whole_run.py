"""Runs the compiled pipelines over three spans and compares them with a run on this machine."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from components.span_records import BURN_IN, TEACHER, read_record, recorded_spans, surface_burn_in
from eventlog.spans import span_folder
from models.state import STATE_FOLDER
from pipeline.cluster import Cluster, Step
from pipeline.config_file import load_deployment
from pipeline.kubeflow.target import cluster_paths, compile_all
from tests.comparing import assert_bit_equal, sets_by_key
from tests.conftest import REPOSITORY
from tests.pipeline.kubeflow.backend import Backend, FailedError

pytestmark = [pytest.mark.slow, pytest.mark.kubeflow]

SPANS = [4, 5, 6]
SURFACES = ("tab_1", "tab_0")
SEPARATE = ("teacher", *(f"student-{surface}" for surface in SURFACES))
BEAM_STEP = "SpanExampleGen"
# The entrypoint takes the full class name for a runner with remote workers.
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.fixture(scope="module")
def deployment(small_config, small_log, tmp_path_factory):
    """A deployment with its own shared folder, which holds the event log."""
    shared = tmp_path_factory.mktemp("cluster")
    (shared / "events").mkdir()
    for span in range(SPANS[-1] + 1):
        span_folder(shared / "events", span).symlink_to(span_folder(small_log, span))
    cluster = Cluster(shared=str(shared), home=str(REPOSITORY))
    return dataclasses.replace(load_deployment(small_config), cluster=cluster)


@pytest.fixture(scope="module")
def backend(deployment, tmp_path_factory):
    """After the burn-ins and three spans: separate pipelines, the fleet's, separate ones again."""
    backend = Backend(tmp_path_factory.mktemp("backend"))
    compiled = compile_all(deployment)
    for name in ("burn-in", *(f"burn-in-{surface}" for surface in SURFACES)):
        backend.run(compiled[name])
    backend.outputs = {}
    for span, names in zip(SPANS, (SEPARATE, ("fleet",), SEPARATE), strict=True):
        for name in names:
            backend.outputs[span, name] = backend.run(compiled[name])
    return backend


@pytest.fixture(scope="module")
def paths(deployment, backend):
    return cluster_paths(deployment)


@pytest.fixture(scope="module")
def local_paths(finished_run):
    """A run of these and later spans on this machine."""
    return finished_run


def test_every_branch_has_recorded_every_span(paths):
    for branch in (TEACHER, *SURFACES):
        assert recorded_spans(paths.records, branch) == SPANS
    assert len(recorded_spans(paths.records, BURN_IN)) == 1


def test_the_label_sets_equal_those_of_a_local_run(deployment, paths, local_paths):
    on_cluster, local = (sets_by_key(run.label_store(deployment.label_store)) for run in (paths, local_paths))

    assert [key.span for key in on_cluster] == SPANS
    assert on_cluster == {key: label_set for key, label_set in local.items() if key.span in SPANS}


@pytest.mark.parametrize(
    ("branch", "role"),
    [(TEACHER, "teacher"), *((surface, role) for surface in SURFACES for role in ("student", "control"))],
)
def test_the_models_are_bit_equal_to_those_of_a_local_run(paths, local_paths, branch, role):
    for span in SPANS:
        states = [
            f"{read_record(run.records, branch, span).slots[role]}/{STATE_FOLDER}"
            for run in (paths, local_paths)
        ]
        assert assert_bit_equal(*states, f"span {span}") > 10


def test_a_span_record_names_paths_in_the_shared_folder(deployment, paths):
    for branch in (BURN_IN, *map(surface_burn_in, SURFACES), TEACHER, *SURFACES):
        for span in recorded_spans(paths.records, branch):
            for uri in read_record(paths.records, branch, span).slots.values():
                assert uri.startswith(f"{deployment.cluster.shared}/root/published/")
                assert Path(uri).exists()


def test_students_are_pushed_into_the_shared_folder(paths):
    for surface in SURFACES:
        versions = list(Path(paths.serving(surface)).iterdir())
        assert versions
        assert all((version / "saved_model.pb").exists() for version in versions)


def test_the_reports_have_a_page_figures_and_a_curve(backend):
    outputs = backend.outputs[SPANS[-1], "student-tab_1"]["SurfaceReport-tab-1"]
    page = backend.path(outputs["report"].uri).read_text()
    figures = dict(outputs["figures"].metadata)
    points = outputs["roc"].metadata["confidenceMetrics"]

    assert "tab_1, span 6" in page
    assert page.count("<svg") >= 2
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert set(links) <= {"data:,"}, "the UI shows it without a network"
    assert figures["coverage"] == 1.0
    assert 0 < figures["click_auc_student"] <= 1
    assert points[0]["recall"] == 0.0
    assert points[len(points) - 1]["recall"] == 1.0
    labels = dict(backend.outputs[SPANS[-1], "teacher"]["LabelReport-teacher"]["figures"].metadata)
    assert labels["rows"] == 1500
    assert labels["coverage"] == 1.0
    assert labels["lag_seconds"] > 0


def test_a_run_without_a_due_span_fails_with_one_line(deployment, backend, capfd):
    with pytest.raises(FailedError, match="DueSpan"):
        backend.run(compile_all(deployment)["teacher"])

    assert "no span is due: expected a complete span" in capfd.readouterr().err


def test_a_step_with_remote_beam_workers_uses_the_workspace(deployment, backend, tmp_path):
    """Its outputs are the same, and the workspace is empty afterwards."""
    remote = dataclasses.replace(
        deployment,
        steps={BEAM_STEP: Step(beam=(f"--runner={RUNNER}",))},
    )
    compiled = compile_all(remote)["burn-in"]
    container = compiled[0]["deploymentSpec"]["executors"][f"exec-{BEAM_STEP}"]["container"]
    assert container["args"][-2:] == ["--workspace", f"{deployment.cluster.shared}/work"]

    outputs = Backend(tmp_path)
    outputs.run(only(compiled, BEAM_STEP))
    shards = sorted(path.name for path in outputs.store.rglob("*.gz"))
    first = sorted(path.name for path in (backend.store).rglob(f"{BEAM_STEP}/*/examples/*/*.gz"))
    assert shards
    assert set(shards) <= set(first)
    assert list(Path(deployment.cluster.shared, "work").iterdir()) == []


def only(documents, name):
    spec = json.loads(json.dumps(documents[0]))
    task = spec["root"]["dag"]["tasks"][name]
    task.pop("dependentTasks", None)
    spec["root"]["dag"]["tasks"] = {name: task}
    return [spec]
