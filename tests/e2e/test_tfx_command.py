"""TFX's own command line, from a folder that is not the repository's, with a home of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.span_records import recorded_spans
from pipeline.place import Place
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.e2e

LOCAL = REPOSITORY / "pipeline" / "local_runner.py"
VERTEX = REPOSITORY / "pipeline" / "vertex_runner.py"


@pytest.fixture(scope="module")
def world(small_document, small_log, tmp_path_factory):
    """A folder to work in, one to be TFX's home, a configuration of one surface."""
    folder = tmp_path_factory.mktemp("tfx")
    document = {**small_document, "surfaces": {"tab_1": {}}}
    document["cluster"] = {"pipeline_root": "gs://bucket/runs", "shared": "/gcs/bucket/r", "volume": ""}
    (folder / "small.yaml").write_text(yaml.safe_dump(document))
    return folder, small_log


@pytest.fixture(scope="module")
def place(world):
    return Place(world[0] / "root", world[1])


def tfx(world, *arguments, **changes):
    folder, log = world
    environment = {
        **os.environ,
        # TFX looks for packages with the `pip` that it finds.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RANKDISTILL_CONFIG": str(folder / "small.yaml"),
        "RANKDISTILL_EVENTS": str(log),
        "RANKDISTILL_ROOT": str(folder / "root"),
        "LOCAL_HOME": str(folder / "home" / "local"),
        "VERTEX_HOME": str(folder / "home" / "vertex"),
        **changes,
    }
    command = [str(Path(sys.executable).parent / "tfx"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=500
    )


def test_create_then_run_works_off_the_burn_in_and_span_after_span(world, place):
    created = tfx(world, "pipeline", "create", "--engine=local", f"--pipeline_path={LOCAL}")
    assert created.returncode == 0, created.stderr
    assert 'Pipeline "small-span" created successfully.' in created.stdout
    assert not Path(place.records).exists(), "nothing has been run"

    for span in (2, 3):
        done = tfx(world, "run", "create", "--engine=local", "--pipeline_name=small-span")
        assert done.returncode == 0, done.stderr
        assert recorded_spans(place.records, "tab_1") == list(range(2, span + 1))


def test_compile_and_update_take_the_same_file(world):
    compiled = tfx(world, "pipeline", "compile", "--engine=local", f"--pipeline_path={LOCAL}")
    assert compiled.returncode == 0, compiled.stderr
    updated = tfx(world, "pipeline", "update", "--engine=local", f"--pipeline_path={LOCAL}")
    assert updated.returncode == 0, updated.stderr
    assert 'Pipeline "small-span" updated successfully.' in updated.stdout


def test_a_run_without_its_variables_ends_in_one_line(world):
    refused = tfx(world, "run", "create", "--engine=local", "--pipeline_name=small-span", RANKDISTILL_ROOT="")
    assert refused.returncode != 0
    assert "rankdistill: environment: no such variable: expected a path in RANKDISTILL_ROOT" in refused.stderr


def test_vertex_gets_the_finished_spec_of_the_fleet(world):
    created = tfx(world, "pipeline", "create", "--engine=vertex", f"--pipeline_path={VERTEX}")
    assert created.returncode == 0, created.stderr
    written = world[0] / "home" / "vertex" / "small-fleet" / "pipeline.json"
    spec = json.loads(written.read_text())["pipelineSpec"]
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())

    assert "Trainer-student-tab-1" in parsed.root.dag.tasks
    assert parsed.root.input_definitions.parameters["span"].default_value.number_value == -1
    assert spec["defaultPipelineRoot"] == "gs://bucket/runs"
