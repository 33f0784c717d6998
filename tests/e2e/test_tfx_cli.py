"""TFX's own command line, run outside the repository with its own home folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.span_records import BURN_IN, recorded_spans
from pipeline.paths import RunPaths
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

LOCAL = REPOSITORY / "pipeline" / "local_runner.py"
VERTEX = REPOSITORY / "pipeline" / "tfx_cli" / "vertex_runner.py"


@pytest.fixture(scope="module")
def world(small_document, small_log, finished_run, tmp_path_factory):
    """A working folder with TFX's home, a configuration of one surface, and a root after burn-in."""
    folder = tmp_path_factory.mktemp("tfx")
    document = {**small_document, "surfaces": {"tab_1": {}}}
    document["cluster"] = {"pipeline_root": "gs://bucket/runs", "shared": "/gcs/bucket/r", "volume": ""}
    (folder / "small.yaml").write_text(yaml.safe_dump(document))
    shutil.copytree(Path(finished_run.records, BURN_IN), folder / "root" / "records" / BURN_IN)
    return folder, small_log


@pytest.fixture(scope="module")
def paths(world):
    return RunPaths(world[0] / "root", world[1])


@pytest.fixture
def tfx(world, monkeypatch):
    """TFX's command in this process, to save an import of TFX; `run create` starts another process."""
    from tfx.tools.cli.cli_main import cli_group

    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(world[0])
    return lambda *arguments: click.testing.CliRunner().invoke(cli_group, list(map(str, arguments)))


def environment(world):
    folder, log = world
    return {
        # TFX lists packages with the `pip` in PATH.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RANKDISTILL_CONFIG": str(folder / "small.yaml"),
        "RANKDISTILL_EVENTS": str(log),
        "RANKDISTILL_ROOT": str(folder / "root"),
        "LOCAL_HOME": str(folder / "home" / "local"),
        "VERTEX_HOME": str(folder / "home" / "vertex"),
    }


@pytest.fixture(scope="module")
def created(world):
    """The output of `tfx pipeline create`; only this fixture starts the command as a process."""
    command = [Path(sys.executable).parent / "tfx", "pipeline", "create", "--engine=local"]
    return subprocess.run(
        [*command, f"--pipeline_path={LOCAL}"],
        cwd=world[0], env=os.environ | environment(world), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_each_run_runs_the_next_span(created, tfx, paths):
    assert 'Pipeline "small-span" created successfully.' in created
    assert recorded_spans(paths.records, "tab_1") == []

    for span in (4, 5):
        result = tfx("run", "create", "--engine=local", "--pipeline_name=small-span")
        assert result.exit_code == 0, result.output
        assert recorded_spans(paths.records, "tab_1") == list(range(4, span + 1))


def test_compile_and_update_accept_the_same_file(created, tfx):
    compiled = tfx("pipeline", "compile", "--engine=local", f"--pipeline_path={LOCAL}")
    assert compiled.exit_code == 0, compiled.output
    updated = tfx("pipeline", "update", "--engine=local", f"--pipeline_path={LOCAL}")
    assert updated.exit_code == 0, updated.output
    assert 'Pipeline "small-span" updated successfully.' in updated.output


def test_a_missing_environment_variable_gives_a_one_line_error(tfx, monkeypatch, capsys):
    monkeypatch.setenv("RANKDISTILL_ROOT", "")
    refused = tfx("pipeline", "update", "--engine=local", f"--pipeline_path={LOCAL}")

    assert refused.exit_code == 2
    assert "rankdistill: environment: no such variable: expected a path in RANKDISTILL_ROOT" in refused.output


def test_vertex_gets_the_completed_spec_of_the_fleet(world, tfx):
    for command in ("create", "update", "compile"):
        result = tfx("pipeline", command, "--engine=vertex", f"--pipeline_path={VERTEX}")
        assert result.exit_code == 0, result.output
    path = world[0] / "home" / "vertex" / "small-fleet" / "pipeline.json"
    spec = json.loads(path.read_text())["pipelineSpec"]
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())

    assert "Trainer-student-tab-1" in parsed.root.dag.tasks
    assert parsed.root.input_definitions.parameters["span"].default_value.number_value == -1
    assert spec["defaultPipelineRoot"] == "gs://bucket/runs"
