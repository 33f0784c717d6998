"""Each rule finds its fault in a pipeline that is otherwise sound."""

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
def spoilt(compiled):
    """A copy of the teacher's documents: tasks, components, executors, and what Kubernetes is asked."""
    return copy.deepcopy(compiled["teacher"])


def test_what_the_compiler_makes_is_sound(compiled, deployment):
    for name, documents in compiled.items():
        assert find_faults(documents, deployment) == [], name


def tasks(documents):
    return documents[0]["root"]["dag"]["tasks"]


def executors(documents):
    return documents[0]["deploymentSpec"]["executors"]


def asked(documents):
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def old_schema(documents):
    documents[0]["schemaVersion"] = "2.0.0"


def underscore(documents):
    tasks(documents)["my_task"] = tasks(documents).pop("LabelReport-teacher")


def no_default(documents):
    del documents[0]["root"]["inputDefinitions"]["parameters"]["span"]["defaultValue"]


def cached(documents):
    tasks(documents)["SpanState"]["cachingOptions"] = {"enableCache": True}


def waits_for_nobody(documents):
    tasks(documents)["SpanState"]["dependentTasks"] = ["DueSpan_task"]


def reads_from_nobody(documents):
    tasks(documents)["SpanState"]["inputs"]["parameters"]["span"]["taskOutputParameter"]["producerTask"] = (
        "No"
    )


def reads_what_is_not_made(documents):
    artifacts = tasks(documents)["Trainer-teacher"]["inputs"]["artifacts"]
    artifacts["examples"]["taskOutputArtifact"]["outputArtifactKey"] = "samples"


def does_not_wait(documents):
    tasks(documents)["Trainer-teacher"]["dependentTasks"].remove("SpanExampleGen")


def unbound(documents):
    del tasks(documents)["SpanState"]["inputs"]["parameters"]["branch"]


def found_as_text(documents):
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
    del asked(documents)["exec-SpanState"]["pvcMount"]


def no_secret(documents):
    del asked(documents)["exec-SpanState"]["secretAsEnv"]


def unknown_type(documents):
    artifacts = documents[0]["components"]["SpanState"]["outputDefinitions"]["artifacts"]
    artifacts["labels"]["artifactType"]["instanceSchema"] = "title: rankdistill.HardLabels"


def unknown_executor(documents):
    arguments = executors(documents)["exec-SpanState"]["container"]["args"]
    arguments[arguments.index("--executor_class_path") + 1] = "components.span_state.Nobody"


def told_otherwise(documents):
    arguments = executors(documents)["exec-SpanState"]["container"]["args"]
    arguments[arguments.index("--json_serialized_inputs_spec_args") + 1] = "{}"


FAULTS = [
    (old_schema, "version: schemaVersion is 2.0.0"),
    (underscore, "names: task my_task"),
    (no_default, "defaults: parameter span has no default"),
    (cached, "caching: task SpanState is cached"),
    (waits_for_nobody, "producers: task SpanState waits for DueSpan_task, which is not there"),
    (reads_from_nobody, "producers: task SpanState reads from No, which is not there"),
    (reads_what_is_not_made, "producers: task Trainer-teacher reads samples of SpanExampleGen"),
    (does_not_wait, "producers: task Trainer-teacher reads from SpanExampleGen and does not wait"),
    (unbound, "inputs: task SpanState is not given branch"),
    (found_as_text, "inputs: task SpanState takes span for STRING"),
    (resolver, "executors: exec-SpanState is a resolver"),
    (no_memory, "resources: exec-SpanState has no memoryLimit"),
    (no_gpu, "accelerators: exec-Trainer-teacher shall have 1 of nvidia.com/gpu and has none"),
    (no_deadline, "retries: task SpanState has no backoffMaxDuration"),
    (one_attempt, "retries: task SpanState is not tried again 3 times"),
    (no_volume, "mounts: exec-SpanState does not mount rankdistill"),
    (no_secret, "mounts: exec-SpanState lacks the secret bigquery"),
    (unknown_type, "imports: SpanState has artifacts of type rankdistill.HardLabels"),
    (unknown_executor, "imports: exec-SpanState runs components.span_state.Nobody"),
    (told_otherwise, "arguments: exec-SpanState is told of other inputs"),
]


@pytest.mark.parametrize(("spoil", "fault"), FAULTS)
def test_a_fault_is_found(spoilt, deployment, spoil, fault):
    spoil(spoilt)
    found = find_faults(spoilt, deployment)

    assert any(each.startswith(fault) for each in found), found


def test_every_rule_has_a_case_that_fails():
    assert {rule.__name__ for rule in RULES} == {fault.partition(":")[0] for _, fault in FAULTS}
