"""Each rule finds its fault in a pipeline that is otherwise correct."""

import copy
import dataclasses

import pytest

from pipeline.cluster import Cluster
from pipeline.config_file import load_deployment
from pipeline.kubeflow.lint import RULES, find_faults
from pipeline.kubeflow.target import compile_all
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def deployment():
    cluster = Cluster(secrets={"bigquery": {"key.json": "GOOGLE_CREDENTIALS"}})
    return dataclasses.replace(
        load_deployment(REPOSITORY / "pipeline" / "configs" / "kuairand.yaml"), cluster=cluster
    )


@pytest.fixture(scope="module")
def compiled(deployment):
    return compile_all(deployment)


@pytest.fixture
def documents(compiled):
    """A copy of the documents of the teacher's pipeline."""
    return copy.deepcopy(compiled["teacher"])


def test_compiled_pipelines_have_no_faults(compiled, deployment):
    for name, compiled_documents in compiled.items():
        assert find_faults(compiled_documents, deployment) == [], name


def tasks(documents):
    return documents[0]["root"]["dag"]["tasks"]


def executors(documents):
    return documents[0]["deploymentSpec"]["executors"]


def kubernetes(documents):
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def old_schema(documents):
    documents[0]["schemaVersion"] = "2.0.0"


def underscore(documents):
    tasks(documents)["my_task"] = tasks(documents).pop("LabelReport-teacher")


def no_default(documents):
    del documents[0]["root"]["inputDefinitions"]["parameters"]["span"]["defaultValue"]


def cached(documents):
    tasks(documents)["SpanState"]["cachingOptions"] = {"enableCache": True}


def unknown_upstream(documents):
    tasks(documents)["SpanState"]["dependentTasks"] = ["DueSpan_task"]


def unknown_producer(documents):
    tasks(documents)["SpanState"]["inputs"]["parameters"]["span"]["taskOutputParameter"]["producerTask"] = (
        "No"
    )


def unknown_output(documents):
    artifacts = tasks(documents)["Trainer-teacher"]["inputs"]["artifacts"]
    artifacts["examples"]["taskOutputArtifact"]["outputArtifactKey"] = "samples"


def reads_without_waiting(documents):
    tasks(documents)["Trainer-teacher"]["dependentTasks"].remove("SpanExampleGen")


def unbound_input(documents):
    del tasks(documents)["SpanState"]["inputs"]["parameters"]["branch"]


def integer_declared_as_string(documents):
    parameters = documents[0]["components"]["SpanState"]["inputDefinitions"]["parameters"]
    parameters["span"]["parameterType"] = "STRING"


def resolver(documents):
    executors(documents)["exec-SpanState"] = {"resolver": {}}


def no_memory(documents):
    del executors(documents)["exec-SpanState"]["container"]["resources"]["memoryLimit"]


def no_gpu(documents):
    del executors(documents)["exec-Trainer-teacher"]["container"]["resources"]["accelerator"]


def no_deadline(documents):
    del tasks(documents)["SpanState"]["retryPolicy"]["backoffMaxDuration"]


def one_attempt(documents):
    del tasks(documents)["SpanState"]["retryPolicy"]


def no_volume(documents):
    del kubernetes(documents)["exec-SpanState"]["pvcMount"]


def other_mount_path(documents):
    kubernetes(documents)["exec-SpanState"]["pvcMount"][0]["mountPath"] = "/elsewhere"


def no_secret(documents):
    del kubernetes(documents)["exec-SpanState"]["secretAsEnv"]


def other_variable(documents):
    (key,) = kubernetes(documents)["exec-SpanState"]["secretAsEnv"][0]["keyToEnv"]
    key["envVar"] = "OTHER"


def unknown_type(documents):
    artifacts = documents[0]["components"]["SpanState"]["outputDefinitions"]["artifacts"]
    artifacts["labels"]["artifactType"]["instanceSchema"] = "title: rankdistill.HardLabels"


def type_without_module(documents):
    artifacts = documents[0]["components"]["SpanState"]["outputDefinitions"]["artifacts"]
    artifacts["labels"]["artifactType"]["instanceSchema"] = "title: HardLabels"


def unknown_executor(documents):
    arguments = executors(documents)["exec-SpanState"]["container"]["args"]
    arguments[arguments.index("--executor_class_path") + 1] = "components.span_state.Missing"


def other_arguments(documents):
    arguments = executors(documents)["exec-SpanState"]["container"]["args"]
    arguments[arguments.index("--json_serialized_inputs_spec_args") + 1] = "{}"


FAULTS = [
    (old_schema, "version: schemaVersion is 2.0.0"),
    (underscore, "names: task my_task"),
    (no_default, "defaults: parameter span has no default"),
    (cached, "caching: task SpanState is cached"),
    (unknown_upstream, "producers: task SpanState waits for DueSpan_task, which does not exist"),
    (unknown_producer, "producers: task SpanState reads from No, which does not exist"),
    (unknown_output, "producers: task Trainer-teacher reads samples of SpanExampleGen"),
    (reads_without_waiting, "producers: task Trainer-teacher reads from SpanExampleGen but does not wait"),
    (unbound_input, "inputs: task SpanState does not bind branch"),
    (integer_declared_as_string, "inputs: task SpanState declares span as STRING"),
    (resolver, "executors: exec-SpanState is a resolver"),
    (no_memory, "resources: exec-SpanState has no memoryLimit"),
    (no_gpu, "accelerators: exec-Trainer-teacher needs 1 of nvidia.com/gpu, but has none"),
    (no_deadline, "retries: task SpanState has no backoffMaxDuration"),
    (one_attempt, "retries: task SpanState does not have 3 retries"),
    (no_volume, "mounts: exec-SpanState does not mount rankdistill at /mnt/rankdistill"),
    (other_mount_path, "mounts: exec-SpanState does not mount rankdistill at /mnt/rankdistill"),
    (no_secret, "mounts: exec-SpanState lacks the secret bigquery"),
    (other_variable, "mounts: exec-SpanState lacks the secret bigquery"),
    (unknown_type, "imports: SpanState has artifacts of type rankdistill.HardLabels"),
    (type_without_module, "imports: SpanState has artifacts of type HardLabels"),
    (unknown_executor, "imports: exec-SpanState runs components.span_state.Missing"),
    (other_arguments, "arguments: exec-SpanState: --json_serialized_inputs_spec_args differs"),
]


@pytest.mark.parametrize(("break_documents", "fault"), FAULTS)
def test_a_fault_is_found(documents, deployment, break_documents, fault):
    break_documents(documents)
    faults = find_faults(documents, deployment)

    assert any(line.startswith(fault) for line in faults), faults


def test_an_importer_needs_no_retries(documents, deployment):
    executors(documents)["exec-SpanState"] = {"importer": {}}
    del tasks(documents)["SpanState"]["retryPolicy"]

    assert find_faults(documents, deployment) == []


def test_every_rule_has_a_case():
    assert {rule.__name__ for rule in RULES} == {fault.partition(":")[0] for _, fault in FAULTS}
