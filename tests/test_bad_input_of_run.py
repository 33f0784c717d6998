"""Every kind of bad input ends in one line, exit code 2, and nothing published."""

import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from components.event_store import complete_spans
from components.label_store.schemes import open_store
from components.soft_label_bulk_inferrer import teacher_record
from components.span_records import BURN_IN, SpanRecord, surface_burn_in, write_record
from eventlog.errors import BadInput
from rankdistill.command_line import main
from tests.conftest import REPOSITORY


@pytest.fixture
def log(small_log, tmp_path):
    """A copy of the log's first five spans, to be spoilt."""
    copy = tmp_path / "log"
    for span in range(5):
        shutil.copytree(small_log / f"span={span}", copy / f"span={span}")
    return copy


@pytest.fixture
def refusal(small_config, log, tmp_path, capfd, monkeypatch):
    """Runs the command line and gives its one line of refusal."""

    def run(*arguments, config=small_config):
        root = tmp_path / "root"
        command = ["run", "--config", config, "--events", log, "--root", root, *arguments]
        monkeypatch.setattr("sys.argv", ["rankdistill", *map(str, command)])
        before = files_under(root)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        lines = err.splitlines()
        assert stopped.value.code == 2
        assert [line.partition(": ")[0] for line in lines] == ["rankdistill"], lines
        assert "Traceback" not in out
        assert files_under(root) == before
        assert open_store(f"delta:{root}/labels").list_sets() == []
        began = (root / "metadata.sqlite").exists()
        assert (live_outputs_of_failures(root) if began else []) == [0] * began
        return lines[0]

    return run


def files_under(root):
    """Records, pushed models and the summary: all that a later run or a server would find."""
    kept = ("records/**/*", "serving/**/*", "summary.json")
    return {path: path.read_bytes() for name in kept for path in root.glob(name) if path.is_file()}


def live_outputs_of_failures(root):
    """Of each failed execution, how many outputs MLMD takes for live."""
    config = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    inputs = (metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.DECLARED_INPUT)
    counts = []
    with metadata.Metadata(config) as handle:
        for execution in handle.store.get_executions():
            if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
                events = handle.store.get_events_by_execution_ids([execution.id])
                outputs = [event.artifact_id for event in events if event.type not in inputs]
                artifacts = handle.store.get_artifacts_by_id(outputs)
                counts.append(sum(each.state == metadata_store_pb2.Artifact.LIVE for each in artifacts))
    return counts


def rewrite(log, span, change):
    """Replaces a span's rows by what `change` makes of them."""
    (file,) = (log / f"span={span}").glob("part-*.parquet")
    pq.write_table(change(pq.read_table(file, partitioning=None)), file)


def replace(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def test_unknown_config_key(refusal, small_document, tmp_path):
    config = tmp_path / "typo.yaml"
    config.write_text(yaml.safe_dump(small_document | {"sed": 3}))

    assert "sed: unknown key" in (line := refusal(config=config))
    assert "Did you mean 'seed'?" in line


def test_missing_column(refusal, log):
    rewrite(log, 2, lambda table: table.drop(["duration_seconds"]))

    assert "missing column duration_seconds" in (line := refusal())
    assert "span=2" in line


def test_wrong_type(refusal, log):
    rewrite(log, 2, lambda table: replace(table, "hour", table["hour"].cast(pa.string())))

    assert "wrong type of column hour: expected int64, got string" in refusal()


def test_a_task_without_a_label_in_the_burn_in(refusal, small_document, tmp_path):
    config = tmp_path / "early.yaml"
    config.write_text(yaml.safe_dump(small_document | {"burn_in": "0:1"}))

    assert "spans 0 to 1: no label of task ltv: expected values in column label_ltv" in refusal(config=config)


def test_span_gap(refusal, log):
    shutil.rmtree(log / "span=1")

    assert "span gap: expected every span from 0 to 4, got no complete span 1" in refusal()


def test_wanted_spans_beyond_the_next_due_are_a_gap(refusal, log, small_log):
    shutil.copytree(small_log / "span=5", log / "span=5")

    assert "span gap" in (line := refusal("--spans", "5:5"))
    assert "span 4 or earlier" in line


def test_empty_span(refusal, log):
    rewrite(log, 2, lambda table: table.slice(0, 0))

    assert "empty span" in (line := refusal())
    assert "span=2" in line


def test_all_labels_of_a_task_missing(refusal, log):
    rewrite(log, 2, lambda table: replace(table, "label_like", pa.nulls(table.num_rows, pa.float32())))

    assert "column label_like is null in all fresh rows" in refusal()


def test_duplicate_example_ids(refusal, log):
    rewrite(log, 2, lambda table: pa.concat_tables([table, table.slice(0, 1)]))

    assert "duplicate example_id in fresh rows: expected every id once, got 1 repeated" in refusal()


def test_truncated_parquet(refusal, log):
    (file,) = (log / "span=2").glob("part-*.parquet")
    file.write_bytes(file.read_bytes()[:-100])

    assert f"{file}: unreadable file" in refusal()


def test_nan_feature(refusal, log):
    def spoil(table):
        values = table["follow_user_num"].to_numpy().copy()
        values[3] = np.nan
        return replace(table, "follow_user_num", pa.array(values, pa.float32(), from_pandas=False))

    rewrite(log, 2, spoil)

    assert "NaN or infinity in column follow_user_num" in refusal()


def test_unreadable_model(refusal, tmp_path):
    model = tmp_path / "broken"
    (model / "Format-Serving").mkdir(parents=True)
    (model / "Format-Serving" / "saved_model.pb").write_bytes(b"no model")
    record = SpanRecord(span=3, slots={"teacher": str(model)})
    write_record(str(tmp_path / "root" / "records"), BURN_IN, record)
    for surface in ("tab_1", "tab_0"):
        write_record(str(tmp_path / "root" / "records"), surface_burn_in(surface), SpanRecord(span=3))

    assert f"{model}: unknown to MLMD: expected an artifact of a finished step" in refusal()
    with pytest.raises(BadInput, match=r"broken/training-state: .* training state cannot be read"):
        teacher_record(str(model), 4, "previous")


def test_no_such_folder_of_events(refusal, log):
    shutil.rmtree(log)

    assert f"{log}: no event log" in refusal()


def test_a_log_that_the_loop_copies_from_bigquery_may_be_missing(
    refusal, log, small_document, tmp_path, monkeypatch
):
    monkeypatch.setattr(complete_spans, "_TIMEOUT_SECONDS", 1.0)
    store = "bigquery://project/d?staging=/s&endpoint=http://127.0.0.1:9&read_endpoint=127.0.0.1:9"
    tables = {"events_table": "project.d.events", "spans_table": "project.d.spans"}
    config = tmp_path / "bigquery.yaml"
    config.write_text(yaml.safe_dump(small_document | tables | {"label_store": store}))
    shutil.rmtree(log)

    assert "BigQuery cannot be read: expected the complete spans" in refusal(config=config)


def test_nonsense_range(refusal):
    assert "not a range of spans: expected A:B" in (line := refusal("--spans", "five"))
    assert "got 'five'" in line


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [150, 400])
def test_a_full_disk_ends_in_one_line_and_publishes_nothing(small_config, log, tmp_path, kilobytes):
    """The quota is a limit on the size of files: the first stops the metadata, the second an artifact."""
    root = tmp_path / "root"
    command = f"ulimit -f {kilobytes}; exec {sys.executable} -m rankdistill run"
    command += f" --config {small_config} --events {log} --root {root}"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("rankdistill: ")]
    assert (ended.returncode, len(lines)) == (2, 1), ended.stderr
    assert "the file system refuses: expected a path to read or write" in lines[0]
    assert "Traceback" not in ended.stderr
    assert not (root / "serving").exists() and not (root / "records").exists()
