"""Every kind of bad input ends in one line, exit code 2, and nothing published."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.span_records import BOOTSTRAP, recorded_spans, write_record
from pipeline import cli


@pytest.fixture
def log(small_log, tmp_path):
    """A copy of the log's first three spans, to be spoilt."""
    copy = tmp_path / "log"
    for span in range(3):
        shutil.copytree(small_log / f"span={span}", copy / f"span={span}")
    return copy


@pytest.fixture
def refusal(small_config, log, tmp_path, capfd, monkeypatch):
    """Runs the command line and gives its one line of refusal."""

    def run(*arguments, config=small_config):
        root = tmp_path / "root"
        command = ["run", "--config", config, "--events", log, "--root", root, *arguments]
        monkeypatch.setattr("sys.argv", ["rankdistill", *map(str, command)])
        before = recorded_spans(str(root / "records"), BOOTSTRAP)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("rankdistill: ")]
        assert stopped.value.code == 2
        assert len(lines) == 1
        assert recorded_spans(str(root / "records"), BOOTSTRAP) == before
        assert not list((root / "labels").glob("_delta_log/*.json"))
        assert not (root / "summary.json").exists()
        return lines[0]

    return run


def rewrite(log, span, change):
    """Replaces a span's rows by what `change` makes of them."""
    (file,) = (log / f"span={span}").glob("part-*.parquet")
    pq.write_table(change(pq.read_table(file)), file)


def replace(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def test_unknown_config_key(refusal, small_document, tmp_path):
    config = tmp_path / "typo.yaml"
    config.write_text(yaml.safe_dump(small_document | {"sed": 3}))

    assert "sed: unknown key" in (line := refusal(config=config))
    assert "Did you mean 'seed'?" in line


def test_missing_column(refusal, log):
    rewrite(log, 0, lambda table: table.drop(["duration_seconds"]))

    assert "duration_seconds" in (line := refusal())
    assert "span=0" in line


def test_wrong_type(refusal, log):
    rewrite(log, 0, lambda table: replace(table, "hour", table["hour"].cast(pa.string())))

    assert "hour" in (line := refusal())
    assert "int64" in line and "string" in line


def test_span_gap(refusal, log):
    shutil.rmtree(log / "span=1")

    assert "span" in (line := refusal())
    assert "1" in line


def test_wanted_spans_beyond_the_next_due_are_a_gap(refusal, log, small_log):
    shutil.copytree(small_log / "span=3", log / "span=3")

    assert "span gap" in (line := refusal("--spans", "3:3"))
    assert "span 2 or earlier" in line


def test_empty_span(refusal, log):
    rewrite(log, 0, lambda table: table.slice(0, 0))

    assert "empty span" in (line := refusal())
    assert "span=0" in line


def test_all_labels_of_a_task_missing(refusal, log):
    rewrite(log, 0, lambda table: replace(table, "label_like", pa.nulls(table.num_rows, pa.float32())))

    assert "label_like" in refusal()


def test_duplicate_example_ids(refusal, log):
    rewrite(log, 0, lambda table: pa.concat_tables([table, table.slice(0, 1)]))

    assert "duplicate" in refusal()


def test_truncated_parquet(refusal, log):
    (file,) = (log / "span=0").glob("part-*.parquet")
    file.write_bytes(file.read_bytes()[:-100])

    assert file.name in refusal()


def test_nan_feature(refusal, log):
    def spoil(table):
        values = table["follow_user_num"].to_numpy().copy()
        values[3] = np.nan
        return replace(table, "follow_user_num", pa.array(values, pa.float32(), from_pandas=False))

    rewrite(log, 0, spoil)

    assert "follow_user_num" in refusal()


def test_unreadable_model(refusal, tmp_path):
    model = tmp_path / "broken"
    (model / "Format-Serving").mkdir(parents=True)
    (model / "Format-Serving" / "saved_model.pb").write_bytes(b"no model")
    write_record(str(tmp_path / "root" / "records"), BOOTSTRAP, 1, {"teacher": str(model)})

    assert "model" in (line := refusal())
    assert "teacher" in line or "Format-Serving" in line


def test_no_such_folder_of_events(refusal, log):
    shutil.rmtree(log)

    assert str(log) in refusal()


def test_nonsense_range(refusal):
    assert "A:B" in refusal("--spans", "five")
