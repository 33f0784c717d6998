"""What a step's container runs: TFX's own executor runner, made to work on open-source Kubeflow Pipelines v2.

TFX's runner was written for Vertex AI. Open-source Kubeflow hands it other things:
1. input artifacts without their type (tensorflow/tfx#7768): it is taken from the component's own inputs;
2. URIs as `minio://` or `s3://`, staged by the launcher under `/minio` or `/s3`: those paths are used;
3. custom properties of its own, which no artifact of ours has: they are taken off;
4. `system.*` types, which show in the UI and are no classes of TFX: they are ours.
On Vertex AI the same entrypoint works with `gs://` under `/gcs`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.utils import import_utils, name_utils

from components.artifacts import UI_TYPES
from pipeline.errors import refusal

STAGED_UNDER = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}
"""Where the launcher stages what lies in an object store, by scheme."""
IN_THIS_PROCESS = (None, "DirectRunner", "FnApiRunner")
"""Beam's runners that start no workers elsewhere."""
_OF_THE_BACKEND = ("display_name", "store_session_info")


def main(arguments: Sequence[str] | None = None, staging: str = "") -> int:
    """Runs one step.

    Args:
        arguments: Of the container, as the compiled pipeline gives them; what is unknown goes to Beam.
        staging: Prefix of the folders that the launcher stages to; empty but in tests.

    Returns:
        0, or 2 where the step refused its input, with one line about it on standard error.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor_class_path", required=True, help="Of the step's executor.")
    parser.add_argument("--json_serialized_invocation_args", required=True, help="KFP's ExecutorInput.")
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}", help="The component's inputs.")
    parser.add_argument(
        "--workspace",
        default="",
        help="Where Beam steps work whose workers are elsewhere.",
    )
    known, beam_options = parser.parse_known_args(arguments)
    invocation = pipeline_spec_pb2.ExecutorInput()
    json_format.Parse(known.json_serialized_invocation_args, invocation, ignore_unknown_fields=True)
    inputs = pipeline_spec_pb2.ComponentInputsSpec()
    json_format.Parse(known.json_serialized_inputs_spec_args, inputs, ignore_unknown_fields=True)
    localize(invocation, inputs, staging)
    report = Path(invocation.outputs.output_file)
    try:
        _execute(known, invocation, beam_options)
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        print(f"{known.executor_class_path.rpartition('.')[2]}: {refused}", file=sys.stderr)
        return 2
    _name_remotely(report, staging)
    return 0


def localize(
    invocation: pipeline_spec_pb2.ExecutorInput,
    inputs: pipeline_spec_pb2.ComponentInputsSpec,
    staging: str = "",
) -> None:
    """Gives every artifact its type and the path that it is staged under, in place."""
    for name, artifact in _each(invocation.inputs.artifacts):
        if name in inputs.artifacts:
            artifact.type.CopyFrom(inputs.artifacts[name].artifact_type)
        for key in _OF_THE_BACKEND:
            artifact.metadata.fields.pop(key, None)
    for artifacts in (invocation.inputs.artifacts, invocation.outputs.artifacts):
        for _, artifact in _each(artifacts):
            artifact.uri = local_path(artifact.uri, staging)


def local_path(uri: str, staging: str = "") -> str:
    """Where the launcher stages a URI; any other path is left as it is."""
    for scheme, folder in STAGED_UNDER.items():
        if uri.startswith(scheme):
            return f"{staging}{folder}{uri.removeprefix(scheme)}"
    return uri


def remote_uri(path: str, staging: str = "") -> str:
    """The inverse of `local_path`."""
    for scheme, folder in STAGED_UNDER.items():
        if path.startswith(staging + folder):
            return scheme + path.removeprefix(staging + folder)
    return path


def _execute(
    known: argparse.Namespace, invocation: pipeline_spec_pb2.ExecutorInput, beam_options: list[str]
) -> None:
    compiler_utils.TITLE_TO_CLASS_PATH.update(
        {each.TYPE_NAME: name_utils.get_full_name(each) for each in UI_TYPES}
    )
    Path(invocation.outputs.output_file).parent.mkdir(parents=True, exist_ok=True)
    apart = known.workspace and has_workers_elsewhere(known.executor_class_path, beam_options)
    workspace = Path(known.workspace) / uuid.uuid4().hex if apart else None
    staged = _move_in(invocation, workspace) if workspace is not None else {}
    try:
        known.json_serialized_invocation_args = json_format.MessageToJson(invocation)
        kubeflow_v2_run_executor._run_executor(known, beam_options)
        _move_out(staged, Path(invocation.outputs.output_file))
    finally:
        if workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)


def has_workers_elsewhere(executor_class_path: str, beam_options: Sequence[str]) -> bool:
    """Whether a step is Beam's, under a runner whose workers do not see this container's files."""
    executor = import_utils.import_class_by_path(executor_class_path)
    runner = PipelineOptions(list(beam_options)).view_as(StandardOptions).runner
    return issubclass(executor, base_beam_executor.BaseBeamExecutor) and runner not in IN_THIS_PROCESS


def _move_in(invocation: pipeline_spec_pb2.ExecutorInput, workspace: Path) -> dict[str, str]:
    """Has the step read and write in a folder that others see; returns outputs there -> where staged."""
    for name, artifact in _each(invocation.inputs.artifacts):
        target = workspace / "inputs" / name
        shutil.copytree(artifact.uri, target)
        artifact.uri = str(target)
    staged = {}
    for name, artifact in _each(invocation.outputs.artifacts):
        target = workspace / "outputs" / name
        target.mkdir(parents=True)
        staged[str(target)], artifact.uri = artifact.uri, str(target)
    # TFX derives the folder for scratch files from the place of this file.
    staged[str(workspace / "task/output.json")] = invocation.outputs.output_file
    (workspace / "task").mkdir()
    invocation.outputs.output_file = str(workspace / "task/output.json")
    return staged


def _move_out(staged: Mapping[str, str], written: Path) -> None:
    """Copies outputs to where the launcher looks for them, and has the step's report name that place."""
    for source, target in staged.items():
        if Path(source) == written:
            text = written.read_text()
            for moved, original in staged.items():
                text = text.replace(moved, original)
            Path(target).write_text(text)
        else:
            shutil.copytree(source, target, dirs_exist_ok=True)


def _name_remotely(output_file: Path, staging: str) -> None:
    report = json_format.Parse(output_file.read_text(), pipeline_spec_pb2.ExecutorOutput())
    for _, artifact in _each(report.artifacts):
        artifact.uri = remote_uri(artifact.uri, staging)
    output_file.write_text(json_format.MessageToJson(report))


def _each(
    artifacts: Mapping[str, pipeline_spec_pb2.ArtifactList],
) -> Iterator[tuple[str, pipeline_spec_pb2.RuntimeArtifact]]:
    for name, several in artifacts.items():
        for artifact in several.artifacts:
            yield name, artifact


if __name__ == "__main__":
    sys.exit(main())
