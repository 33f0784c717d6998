"""Runs a compiled pipeline on this machine as open-source Kubeflow's driver and launcher do.

As on Kubeflow, input artifacts have no type and carry Kubeflow's own properties. Artifacts lie in an object
store under `minio://` and are staged into a folder per task. URIs outside the pipeline root are refused.
Parameters from another task come from that task's output file.
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.kubeflow.entrypoint import local_path, main

SCHEME = "minio://"


class RejectedError(Exception):
    """Kubeflow's API server or driver would refuse the pipeline."""


class FailedError(Exception):
    """A task of the run did not exit with 0."""


class Backend:
    """An object store, and the runs that use it.

    Args:
        folder: Holds the store and the tasks' staging folders.
    """

    def __init__(self, folder):
        self.store, self.staging = Path(folder) / "store", Path(folder) / "staging"
        self.ran = []

    def run(self, documents, root="minio://mlpipeline/v2/artifacts", **parameters):
        """Runs one pipeline under the artifact root `root`; returns task -> output -> RuntimeArtifact."""
        spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
        return Run(self, spec, root, parameters).run()

    def path(self, uri):
        return self.store / uri.removeprefix(SCHEME)


class Run:
    def __init__(self, backend, spec, root, parameters):
        if spec.schema_version != "2.1.0":
            raise RejectedError(f"schema version {spec.schema_version}")
        self.backend, self.spec = backend, spec
        deployment = json_format.MessageToDict(spec.deployment_spec)
        self.deployment = json_format.ParseDict(deployment, pipeline_spec_pb2.PipelineDeploymentConfig())
        self.root = f"{root}/{spec.pipeline_info.name}/{uuid.uuid4()}"
        self.parameters = {}
        for name, declared in spec.root.input_definitions.parameters.items():
            if name in parameters:
                self.parameters[name] = parameters[name]
            elif declared.is_optional:
                self.parameters[name] = json_format.MessageToDict(declared.default_value)
            else:
                raise RejectedError(f"no value for {name}")
        self.artifacts, self.output_parameters = {}, {}

    def run(self):
        tasks, done = dict(self.spec.root.dag.tasks), []
        while len(done) < len(tasks):
            ready = [
                name for name in sorted(tasks)
                if name not in done and set(tasks[name].dependent_tasks) <= set(done)
            ]  # fmt: skip
            if not ready:
                raise RejectedError(
                    f"tasks wait for each other or for a missing one: {sorted(set(tasks) - set(done))}"
                )
            self.run_task(ready[0], tasks[ready[0]])
            done.append(ready[0])
        return self.artifacts

    def run_task(self, name, task):
        component = self.spec.components[task.component_ref.name]
        executor = self.deployment.executors[component.executor_label]
        if executor.WhichOneof("spec") != "container":
            raise RejectedError(f"{name} is not a container")
        staging = str(self.backend.staging / name / uuid.uuid4().hex)
        invocation = self.invocation(name, task, component, staging)
        arguments = [
            argument.replace("{{$}}", json_format.MessageToJson(invocation))
            for argument in executor.container.args
        ]
        assert executor.container.command[:2] == ["python", "-m"]
        if main(arguments, staging):
            raise FailedError(name)
        self.collect(name, invocation, staging)
        shutil.rmtree(staging)
        self.backend.ran.append(name)

    def invocation(self, name, task, component, staging):
        executor_input = pipeline_spec_pb2.ExecutorInput()
        for key, bound in task.inputs.parameters.items():
            kind = bound.WhichOneof("kind")
            value = executor_input.inputs.parameter_values[key]
            if kind == "runtime_value":
                value.CopyFrom(bound.runtime_value.constant)
            elif kind == "component_input_parameter":
                json_format.ParseDict(self.parameters[bound.component_input_parameter], value)
            else:
                source = bound.task_output_parameter
                value.CopyFrom(self.output_parameters[source.producer_task][source.output_parameter_key])
        for key, bound in task.inputs.artifacts.items():
            source = bound.task_output_artifact
            artifact = executor_input.inputs.artifacts[key].artifacts.add()
            artifact.CopyFrom(self.artifacts[source.producer_task][source.output_artifact_key])
            artifact.name = uuid.uuid4().hex
            artifact.type.Clear()
            artifact.metadata["display_name"] = key
            artifact.metadata["store_session_info"] = json.dumps({"Provider": "minio"})
            copy(self.backend.path(artifact.uri), Path(local_path(artifact.uri, staging)))
        folder = f"{self.root}/{name}/{uuid.uuid4()}"
        for key, declared in component.output_definitions.artifacts.items():
            artifact = executor_input.outputs.artifacts[key].artifacts.add()
            artifact.name, artifact.uri = key, f"{folder}/{key}"
            artifact.type.CopyFrom(declared.artifact_type)
            Path(local_path(artifact.uri, staging)).parent.mkdir(parents=True, exist_ok=True)
        for key in component.output_definitions.parameters:
            executor_input.outputs.parameters[key].output_file = f"{staging}/outputs/{key}"
        executor_input.outputs.output_file = f"{local_path(folder, staging)}/output_metadata.json"
        return executor_input

    def collect(self, name, invocation, staging):
        text = Path(invocation.outputs.output_file).read_text()
        output = json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())
        self.output_parameters[name] = dict(output.parameter_values)
        self.artifacts[name] = {}
        for key, declared in invocation.outputs.artifacts.items():
            artifact = declared.artifacts[0]
            if key in output.artifacts:
                reported = output.artifacts[key].artifacts[0]
                artifact.uri = reported.uri or artifact.uri
                artifact.metadata.MergeFrom(reported.metadata)
            if not artifact.uri.startswith(f"{self.root}/"):
                raise RejectedError(f"{name}: {key} lies at {artifact.uri}, outside {self.root}")
            copy(Path(local_path(artifact.uri, staging)), self.backend.path(artifact.uri))
            self.artifacts[name][key] = artifact


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy(source, target)
