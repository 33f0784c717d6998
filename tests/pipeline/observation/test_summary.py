import json
from pathlib import Path

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.evaluation.predictions import predictions_schema, write_predictions
from components.transforms.join_report import JoinReport
from pipeline.observation.summary import summarize, write_summary


@pytest.fixture
def summarized(run):
    """Summary of a run: span 5 of all branches, span 6 of one surface, and span 7 skipped by all."""
    run.teacher(5)
    for span, surface in ((5, "tab_1"), (5, "tab_0"), (5, "tab_4"), (6, "tab_1")):
        report = JoinReport(surface=surface, fresh_rows=8, labelled_fresh_rows=8 if span == 5 else 4)
        run.surface(span, surface, report=report)
        figures = Path(run.paths.artifacts, surface, "figures", str(span))
        rows = predictions_schema(run.deployment.tasks).empty_table()
        for name in ("fresh", "matured"):
            write_predictions(rows, figures / f"{name}.parquet")
    for branch in ("teacher", *run.deployment.surfaces):
        run.skip(branch, 7, "empty")
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = run.paths.metadata
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    context_type = store.put_context_type(metadata_store_pb2.ContextType(name="node"))
    execution_type = store.put_execution_type(metadata_store_pb2.ExecutionType(name="Trainer"))
    for node in (
        "bootstrap.bootstrap-00000-00004.0123.Trainer_teacher",
        "bootstrap-tab_1.bootstrap-tab_1.0123.Trainer_student_tab_1",
        "span.span-00005-v0.0123.SoftLabelBulkInferrer",
        "relabelled.relabelled-00005-v1.0123.LabelReport",
    ):
        context = metadata_store_pb2.Context(type_id=context_type, name=f"{run.deployment.name}-{node}")
        complete = metadata_store_pb2.Execution.COMPLETE
        execution = metadata_store_pb2.Execution(type_id=execution_type, last_known_state=complete)
        store.put_execution(execution, [], [context])
    return summarize(run.deployment, run.paths)


def test_a_skipped_span_is_only_a_decision(summarized):
    assert summarized["spans"] == [5, 6]
    assert summarized["surfaces"]["tab_1"]["coverage"] == 12 / 16
    assert summarized["surfaces"]["tab_0"]["coverage"] == 1.0
    skipped = {"span": 7, "branch": "tab_1", "what": "span", "outcome": "skipped", "reason": "empty"}
    assert skipped in summarized["decisions"]
    assert len(summarized["decisions"]) == 2 + 4 * 4 + 4


def test_freshness_is_given_by_span_and_as_percentiles(summarized):
    assert [(entry["span"], entry["branch"]) for entry in summarized["freshness"]["spans"]] == [
        (5, "teacher"), (5, "tab_1"), (6, "tab_1"), (5, "tab_0"), (5, "tab_4"),
    ]  # fmt: skip
    assert summarized["freshness"]["percentiles"] == {
        branch: {} for branch in ("teacher", "tab_1", "tab_0", "tab_4")
    }


def test_only_span_pipelines_count_for_the_seconds_of_a_step(summarized):
    assert summarized["seconds"].keys() == {"SoftLabelBulkInferrer"}


def test_the_summary_is_written_as_json(summarized, tmp_path):
    write_summary(summarized, tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text()) == summarized
