"""The entrypoint with the inputs of open-source Kubeflow; test_whole_run.py runs all steps."""

import json

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.span_records import SpanRecord, write_record
from models.state import EMPTY_MARKER
from pipeline.kubeflow.entrypoint import has_remote_workers, local_path, localize, main, remote_uri

MODEL = "title: tfx.Model\ntype: object\n"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://mlpipeline/v2/a", "/minio/mlpipeline/v2/a"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("gs://bucket/a", "/gcs/bucket/a"),
        ("/mnt/rankdistill/a", "/mnt/rankdistill/a"),
    ],
)
def test_local_path_and_remote_uri_are_inverse(uri, path):
    assert local_path(uri) == path
    assert remote_uri(path) == uri
    assert remote_uri(local_path(uri, "/staging"), "/staging") == uri


def test_an_input_gets_its_declared_type_and_loses_kubeflows_properties():
    invocation = pipeline_spec_pb2.ExecutorInput()
    artifact = invocation.inputs.artifacts["model"].artifacts.add(uri="minio://b/m")
    artifact.metadata.update({"display_name": "model", "store_session_info": "{}", "span": 3})
    declared = pipeline_spec_pb2.ComponentInputsSpec()
    declared.artifacts["model"].artifact_type.instance_schema = MODEL
    localize(invocation, declared)

    assert artifact.type.instance_schema == MODEL
    assert dict(artifact.metadata) == {"span": 3}
    assert artifact.uri == "/minio/b/m"


def span_state(folder, records):
    """Arguments of a SpanState with the slot `teacher`."""
    invocation = pipeline_spec_pb2.ExecutorInput()
    parameters = invocation.inputs.parameter_values
    parameters["records_folder"].string_value = str(records)
    parameters["branch"].string_value = "teacher"
    parameters["span"].number_value = 4
    output = invocation.outputs.artifacts["teacher"].artifacts.add(
        name="teacher", uri="minio://b/run/teacher"
    )
    output.type.instance_schema = MODEL
    invocation.outputs.output_file = f"{folder}/minio/b/run/output.json"
    inputs = {"parameters": {"span": {"parameterType": "NUMBER_INTEGER"}}}
    return [
        *("--executor_class_path", "components.span_state.SpanStateExecutor"),
        *("--json_serialized_invocation_args", json_format.MessageToJson(invocation)),
        *("--json_serialized_inputs_spec_args", json.dumps(inputs)),
    ]


def test_a_step_writes_to_the_staging_folder_and_reports_uris_of_the_store(tmp_path):
    assert main(span_state(tmp_path, tmp_path / "records"), str(tmp_path)) == 0

    assert [path.name for path in (tmp_path / "minio/b/run/teacher").iterdir()] == [EMPTY_MARKER]
    output = json.loads((tmp_path / "minio/b/run/output.json").read_text())
    (artifact,) = output["artifacts"]["teacher"]["artifacts"]
    assert artifact["uri"] == "minio://b/run/teacher"
    assert artifact["metadata"]["source"] == ""


@pytest.mark.parametrize(
    ("executor", "options", "remote"),
    [
        ("components.span_example_gen.SpanExampleGenExecutor", ["--runner=FlinkRunner"], True),
        ("components.span_example_gen.SpanExampleGenExecutor", ["--runner", "SparkRunner"], True),
        ("components.span_example_gen.SpanExampleGenExecutor", ["--runner=DirectRunner"], False),
        ("components.span_example_gen.SpanExampleGenExecutor", [], False),
        ("components.span_state.SpanStateExecutor", ["--runner=FlinkRunner"], False),
    ],
)
def test_only_a_beam_step_with_a_cluster_runner_has_remote_workers(executor, options, remote):
    assert has_remote_workers(executor, options) == remote


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys):
    records = tmp_path / "records"
    write_record(str(records), "teacher", SpanRecord(span=3))
    (records / "teacher" / "span-00003.json").write_text("{")

    assert main(span_state(tmp_path, records), str(tmp_path)) == 2
    text = capsys.readouterr().err
    assert text.startswith("SpanStateExecutor: ")
    assert "unreadable span record" in text
    assert text.count("\n") == 1
