from __future__ import annotations

import datetime
import json

import click.testing
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, row_schema
from components.label_store.schemes import open_store
from eventlog.errors import BadInput
from pipeline.commands.labels import labels

CLICK = SoftColumn(kind="binary", link="sigmoid", unit="probability")
FACTS = SetFacts(feature_version="f1", label_age_spans=1, seconds=1.0)


def rows(clicks):
    ids, days = [f"e{n}" for n in range(len(clicks))], [datetime.date(2022, 4, 25)] * len(clicks)
    return pa.table([ids, days, ["feed"] * len(clicks), clicks], schema=row_schema(["click"]))


@pytest.fixture
def uri(tmp_path):
    (tmp_path / "labels").mkdir()
    return f"delta:{tmp_path}/labels"


@pytest.fixture
def publish(uri):
    def publish_set(span, clicks):
        store = open_store(uri)
        key = LabelSetKey(teacher="big", teacher_version="7", span=span)
        writer = store.stage(key, {"click": CLICK})
        return store.publish(writer, [writer.write("s", rows(clicks))], FACTS)

    return publish_set


@pytest.fixture
def run(uri):
    def run_command(command, *arguments):
        runner = click.testing.CliRunner()
        return runner.invoke(labels, [command, "--store", uri, *arguments], catch_exceptions=False)

    return run_command


def test_ls_and_show_print_published_sets(run, publish):
    record = publish(3, [0.5, 0.25])
    assert record.set_id in run("ls").output
    shown = json.loads(run("show", record.set_id).output)
    assert (shown["rows"], shown["key"]["span"], shown["columns"]["click"]["kind"]) == (2, 3, "binary")


def test_verify_exits_with_1_if_the_rows_differ_from_the_record(run, publish, tmp_path):
    record = publish(3, [0.5, 0.25])
    assert run("verify", record.set_id).output == f"{record.set_id}: agrees with its record\n"
    (file,) = (tmp_path / "labels").glob(f"label_set={record.set_id}/*.parquet")
    pq.write_table(rows([0.5]), file)
    result = run("verify", record.set_id)
    assert result.exit_code == 1
    assert "rows: expected 2, got 1" in result.output


def test_diff_counts_examples_and_changed_labels(run, publish):
    first, second = publish(3, [0.5, 0.25]), publish(4, [0.5, 0.75, 0.1])
    output = run("diff", first.set_id, second.set_id).output
    assert "examples: 2 in both, 0 only in the first, 1 only in the second" in output
    assert output.splitlines()[-1].split() == ["click", "1", "0.250000", "0.500000"]


def test_gc_removes_the_sets_that_a_dry_run_lists(run, publish, uri):
    old, pinned = publish(3, [0.5]), publish(4, [0.5])
    store = open_store(uri)
    store.pin("phones", 4, pinned.set_id)
    loser = store.stage(old.key, {"click": CLICK})
    loser.write("s", rows([0.75]))
    options = ("--grace-hours", "0", "--retention-days", "0")
    expected = [f"old label set {old.set_id}", f"unpublished attempt {loser.set_id}"]
    assert run("gc", *options, "--dry-run").output.splitlines() == [
        f"would remove {line}" for line in expected
    ]
    assert store.list_sets() == [old, pinned]
    assert run("gc", *options).output.splitlines() == [f"removed {line}" for line in expected]
    assert run("gc", *options).output == "nothing to remove\n"
    assert store.list_sets() == [pinned]


def test_init_reports_that_a_delta_store_needs_no_tables(run):
    assert run("init").output == "nothing to create: this kind of store needs no tables\n"


def test_a_missing_store_is_refused_and_not_created(tmp_path):
    runner = click.testing.CliRunner()
    with pytest.raises(BadInput, match=r"no label store: expected a Delta table, .* got no such folder"):
        runner.invoke(labels, ["ls", "--store", f"delta:{tmp_path}/nowhere"], catch_exceptions=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("arguments", [["ls"], ["gc", "--dry-run"], ["gc"], ["verify", "x"], ["show", "x"]])
def test_a_folder_that_is_no_store_is_refused_and_left_as_it_is(run, tmp_path, arguments):
    with pytest.raises(BadInput, match=r"no label store: expected a Delta table, .* got a folder without it"):
        run(*arguments)
    assert list((tmp_path / "labels").iterdir()) == []


def test_a_dry_run_of_gc_writes_nothing(run, publish, tmp_path):
    publish(3, [0.5])
    before = sorted(tmp_path.rglob("*"))
    run("gc", "--grace-hours", "0", "--retention-days", "0", "--dry-run")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("days", ["nan", "inf", "-1", "soon"])
def test_gc_refuses_an_age_that_is_no_finite_number(run, publish, days):
    publish(3, [0.5])
    result = run("gc", "--retention-days", days)
    assert result.exit_code == 2
    assert "Invalid value for '--retention-days'" in result.output


@pytest.mark.parametrize("lost", ["label_set={}/*.parquet", "_records/{}-*.json"])
def test_verify_names_the_file_that_a_set_has_lost(run, publish, tmp_path, lost):
    record = publish(3, [0.5])
    (file,) = (tmp_path / "labels").glob(lost.format(record.set_id))
    file.unlink()
    result = run("verify", record.set_id)
    assert result.exit_code == 1
    assert f"has lost a file: expected {file}, got no such file" in result.output
    with pytest.raises(BadInput, match="has lost a file"):
        list(open_store(f"delta:{tmp_path}/labels").scan(record.set_id, ["example_id"]))


def test_verify_names_the_folder_of_a_damaged_shard(run, publish, tmp_path):
    record = publish(3, [0.5])
    (file,) = (tmp_path / "labels").glob(f"label_set={record.set_id}/*.parquet")
    file.write_bytes(b"PAR1")
    result = run("verify", record.set_id)
    assert result.exit_code == 1
    assert (
        f"unreadable file: expected the Parquet files of a label set in {file.parent}, got" in result.output
    )


def test_verify_names_a_damaged_record(run, publish, tmp_path):
    record = publish(3, [0.5])
    (file,) = (tmp_path / "labels").glob(f"_records/{record.set_id}-*.json")
    file.write_text("{}")
    result = run("verify", record.set_id)
    assert result.exit_code == 1
    assert f"unreadable file: expected the record of a label set in {file}, got" in result.output
