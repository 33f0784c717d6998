"""Entrypoint of every step's container: adapts TFX's executor runner to open-source Kubeflow Pipelines v2.

TFX wrote its runner for Vertex AI. Open-source Kubeflow differs in four ways. Each is corrected here:
1. Input artifacts have no type (tensorflow/tfx#7768): the type is taken from the component's inputs.
2. URIs are `minio://` or `s3://`, and Kubeflow's launcher stages their files under `/minio` or `/s3`: the
   staged paths replace the URIs.
3. Input artifacts have custom properties of Kubeflow: these properties are removed.
4. Artifact types `system.*`, which the UI shows, are not TFX classes: they are mapped to classes of
   `components.artifacts`.
The entrypoint also works on Vertex AI, which stages `gs://` under `/gcs`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.utils import import_utils, name_utils

from components.artifacts import UI_TYPES
from components.transforms.collecting import find_bad_input
from components.transforms.worker_package import has_workers_elsewhere, with_worker_package

STAGING_FOLDERS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}
"""URI scheme -> folder into which the launcher copies the object store's files."""
_KUBEFLOW_PROPERTIES = ("display_name", "store_session_info")


def main(arguments: Sequence[str] | None = None, staging: str = "") -> int:
    """Runs one step.

    Args:
        arguments: The container's arguments, from the compiled pipeline; unknown arguments are Beam options.
            None: the arguments of this process.
        staging: Prefix of the launcher's staging folders; empty except in tests.

    Returns:
        The exit code: 0, or 2 on bad input, after one line on standard error.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor_class_path", required=True, help="Class of the step's executor.")
    parser.add_argument("--json_serialized_invocation_args", required=True, help="KFP's ExecutorInput.")
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}", help="The component's inputs.")
    parser.add_argument("--workspace", default="", help="Shared folder for Beam steps with remote workers.")
    options, beam_options = parser.parse_known_args(arguments)
    invocation = pipeline_spec_pb2.ExecutorInput()
    json_format.Parse(options.json_serialized_invocation_args, invocation, ignore_unknown_fields=True)
    inputs = pipeline_spec_pb2.ComponentInputsSpec()
    json_format.Parse(options.json_serialized_inputs_spec_args, inputs, ignore_unknown_fields=True)
    localize(invocation, inputs, staging)
    output_file = Path(invocation.outputs.output_file)
    try:
        _execute(options, invocation, beam_options)
    except Exception as error:
        bad_input = find_bad_input(error)
        if bad_input is None:
            raise
        print(f"{options.executor_class_path.rpartition('.')[2]}: {bad_input}", file=sys.stderr)
        return 2
    _restore_uris(output_file, staging)
    return 0


def localize(
    invocation: pipeline_spec_pb2.ExecutorInput,
    inputs: pipeline_spec_pb2.ComponentInputsSpec,
    staging: str = "",
) -> None:
    """Modifies `invocation`: sets the inputs' types and all local paths; removes Kubeflow's properties."""
    for name, artifact in _artifacts(invocation.inputs.artifacts):
        if name in inputs.artifacts:
            artifact.type.CopyFrom(inputs.artifacts[name].artifact_type)
        for key in _KUBEFLOW_PROPERTIES:
            artifact.metadata.fields.pop(key, None)
    for artifacts in (invocation.inputs.artifacts, invocation.outputs.artifacts):
        for _, artifact in _artifacts(artifacts):
            artifact.uri = local_path(artifact.uri, staging)


def local_path(uri: str, staging: str = "") -> str:
    """Returns the path under which the launcher stages a URI; returns any other path unchanged."""
    for scheme, folder in STAGING_FOLDERS.items():
        if uri.startswith(scheme):
            return f"{staging}{folder}{uri.removeprefix(scheme)}"
    return uri


def remote_uri(path: str, staging: str = "") -> str:
    """Returns the URI of a staged path: the inverse of `local_path`."""
    for scheme, folder in STAGING_FOLDERS.items():
        if path.startswith(staging + folder):
            return scheme + path.removeprefix(staging + folder)
    return path


def _execute(
    options: argparse.Namespace, invocation: pipeline_spec_pb2.ExecutorInput, beam_options: list[str]
) -> None:
    compiler_utils.TITLE_TO_CLASS_PATH.update(
        {artifact_type.TYPE_NAME: name_utils.get_full_name(artifact_type) for artifact_type in UI_TYPES}
    )
    Path(invocation.outputs.output_file).parent.mkdir(parents=True, exist_ok=True)
    is_remote = has_remote_workers(options.executor_class_path, beam_options)
    workspace = Path(options.workspace) / uuid.uuid4().hex if is_remote and options.workspace else None
    beam_options = with_worker_package(beam_options) if is_remote else beam_options
    staged_paths = _copy_to_workspace(invocation, workspace) if workspace is not None else {}
    try:
        options.json_serialized_invocation_args = json_format.MessageToJson(invocation)
        kubeflow_v2_run_executor._run_executor(options, beam_options)
        _copy_from_workspace(staged_paths, Path(invocation.outputs.output_file))
    finally:
        if workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)


def has_remote_workers(executor_class_path: str, beam_options: Sequence[str]) -> bool:
    """Whether a step runs on Beam with workers that cannot read this container's files."""
    executor = import_utils.import_class_by_path(executor_class_path)
    return issubclass(executor, base_beam_executor.BaseBeamExecutor) and has_workers_elsewhere(beam_options)


def _copy_to_workspace(invocation: pipeline_spec_pb2.ExecutorInput, workspace: Path) -> dict[str, str]:
    """Copies inputs to the workspace, redirects outputs there; returns workspace path -> staged path."""
    for name, artifact in _artifacts(invocation.inputs.artifacts):
        target = workspace / "inputs" / name
        shutil.copytree(artifact.uri, target)
        artifact.uri = str(target)
    staged_paths = {}
    for name, artifact in _artifacts(invocation.outputs.artifacts):
        target = workspace / "outputs" / name
        target.mkdir(parents=True)
        staged_paths[str(target)], artifact.uri = artifact.uri, str(target)
    # TFX creates its temporary folder beside this file.
    staged_paths[str(workspace / "task/output.json")] = invocation.outputs.output_file
    (workspace / "task").mkdir()
    invocation.outputs.output_file = str(workspace / "task/output.json")
    return staged_paths


def _copy_from_workspace(staged_paths: Mapping[str, str], output_file: Path) -> None:
    """Copies the outputs to their staged paths, and replaces the workspace paths in the output file."""
    for source, target in staged_paths.items():
        if Path(source) == output_file:
            text = output_file.read_text()
            for workspace_path, staged_path in staged_paths.items():
                text = text.replace(workspace_path, staged_path)
            Path(target).write_text(text)
        else:
            shutil.copytree(source, target, dirs_exist_ok=True)


def _restore_uris(output_file: Path, staging: str) -> None:
    """Replaces local paths by URIs in the output file, which the launcher reads."""
    outputs = json_format.Parse(output_file.read_text(), pipeline_spec_pb2.ExecutorOutput())
    for _, artifact in _artifacts(outputs.artifacts):
        artifact.uri = remote_uri(artifact.uri, staging)
    output_file.write_text(json_format.MessageToJson(outputs))


def _artifacts(
    lists: Mapping[str, pipeline_spec_pb2.ArtifactList],
) -> Iterator[tuple[str, pipeline_spec_pb2.RuntimeArtifact]]:
    for name, artifact_list in lists.items():
        for artifact in artifact_list.artifacts:
            yield name, artifact


if __name__ == "__main__":
    sys.exit(main())
