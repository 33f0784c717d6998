"""Impressions in BigQuery, on a local server: read as an event log, and joined like the Beam join."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import click.testing
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery
from rich.console import Console
from tfx.types import standard_artifacts

from components.event_schema import EventColumns
from components.event_store import complete_spans
from components.event_store.complete_spans import CompleteSpans
from components.event_store.event_table import EventTable, require_column_name, require_table_name
from components.event_store.join_in_bigquery import BigQueryJoin
from components.history.lookup import complete_here
from components.history.settings import History, HistorySource, ItemSequence
from components.history.state import open_state
from components.label_store.base import LabelSetKey, SetFacts, SoftColumn, row_schema
from components.label_store.bigquery.location import parse_location
from components.label_store.resolving import LabelSource
from components.label_store.schemes import open_store
from components.soft_label_transform import SoftLabelTransformExecutor
from components.transforms.collecting import run_and_collect
from components.transforms.encode_events import EncodeEvents
from components.transforms.join_labels import JoinSoftLabels, join_span
from components.transforms.join_report import read_join_report
from components.transforms.join_settings import JoinSettings
from components.transforms.shards import SPLITS, read_shards, split_files
from eventlog.checks import EmptySpan, check_span
from eventlog.errors import BadInput
from eventlog.kuairand.columns import LOG_COLUMNS, LOG_SCHEMA
from eventlog.shipped_schema import shipped_schema
from eventlog.spans import span_files, span_versions
from models.settings import to_json
from models.tasks import Task
from pipeline.config_file import load_deployment
from pipeline.driver.log_checks import InputNotReady
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.paths import RunPaths
from rankdistill.command_line import cli
from testing.bigquery_server import PROJECT, missing_python, running

pytestmark = [
    pytest.mark.skipif(missing_python() is not None, reason=str(missing_python())),
]

CONFIG = Path(__file__).parents[3] / "pipeline" / "configs" / "demo.yaml"
BEAM = ["--runner=FnApiRunner"]
CLICK = SoftColumn(kind="binary", link="sigmoid", unit="probability")
LTV = SoftColumn(kind="regression", link="identity", unit="log1p_seconds")
FACTS = SetFacts(feature_version="f1", label_age_spans=1, seconds=1.0)
DELAYS = {"click": 0, "ltv": 3}


@pytest.fixture(scope="module")
def log(small_log):
    return small_log


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    data = tmp_path_factory.mktemp("server")
    with running(data, threads=1) as server:
        uri = server.store_uri("labels", data / "staging")
        open_store(uri).initialize()
        yield uri


@pytest.fixture(scope="module")
def location(uri):
    return parse_location(uri.removeprefix("bigquery://"))


@pytest.fixture(scope="module")
def events(location, log):
    """The rows of the log in a BigQuery table."""
    client, name = location.client(), f"{PROJECT}.labels.events"
    tables = []
    for span in range(5):
        rows = read_log(log, span)
        tables.append(rows.append_column("span", pa.array([span] * rows.num_rows, pa.int64())))
    content = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), content)
    options = bigquery.ParquetOptions()
    options.enable_list_inference = True
    config = bigquery.LoadJobConfig(source_format="PARQUET", parquet_options=options)
    content.seek(0)
    client.load_table_from_file(content, name, job_config=config).result()
    return EventTable(location, name)


def read_log(log, span):
    return pa.concat_tables(
        [pq.read_table(file, partitioning=None).cast(LOG_SCHEMA) for file in span_files(log, span)]
    )


def sort(table):
    return table.sort_by([("event_time_ms", "ascending"), ("example_id", "ascending")])


def as_rows(table):
    """Rows in which a null list is an empty list, as in a tf.Example and in BigQuery."""
    lists = [field.name for field in LOG_SCHEMA if pa.types.is_list(field.type)]
    return [{**row, **{name: row[name] or [] for name in lists}} for row in table.to_pylist()]


def publish(uri, log, span, every):
    """Publishes labels of a span's fresh rows, except every `every`-th row."""
    store = open_store(uri)
    rows = read_log(log, span)
    fresh = rows.filter(pa.array(rows["impression_span"].to_numpy() == span))
    fresh = fresh.take([row for row in range(fresh.num_rows) if row % every])
    generator = np.random.default_rng(span)
    dates = fresh["event_time_ms"].cast(pa.timestamp("ms")).cast(pa.date32())
    columns = [fresh["example_id"], dates, fresh["surface"]]
    columns += [pa.array(generator.random(fresh.num_rows, np.float32)) for _ in range(2)]
    writer = store.stage(
        LabelSetKey(teacher="big", teacher_version="7", span=span), {"click": CLICK, "ltv": LTV}
    )
    shards = [writer.write("shard-0", pa.table(columns, schema=row_schema(["click", "ltv"])))]
    return store.publish(writer, shards, FACTS)


def test_a_span_of_the_table_equals_the_span_of_the_log(events, log, tmp_path):
    calls = []
    events.write_log(tmp_path / "log", range(0, 2), lambda span, rows: calls.append((span, rows)))
    for span in (0, 1):
        assert as_rows(sort(read_log(tmp_path / "log", span))) == as_rows(sort(read_log(log, span)))
    assert calls == [(span, read_log(log, span).num_rows) for span in (0, 1)]
    events.write_log(
        tmp_path / "log", range(0, 2), lambda *_: pytest.fail("complete spans are not written again")
    )


def test_a_table_that_is_not_an_event_log_is_refused(events, location, tmp_path):
    with pytest.raises(BadInput, match=r"events, span 77: empty span: expected at least one row"):
        events.write_log(tmp_path, range(77, 78), print)
    with pytest.raises(BadInput, match="no such table: expected a table of impressions"):
        EventTable(location, f"{PROJECT}.labels.nothing").read_rows(0)
    with pytest.raises(BadInput, match="missing column cluster_id: expected the columns that"):
        EventTable(location, location.table("labels")).read_rows(0)
    with pytest.raises(BadInput, match="not a table's name: expected PROJECT"):
        EventTable(location, "labels`; DROP TABLE x")


@pytest.fixture
def complete(events, location):
    """An empty table of complete spans, and a function that inserts rows."""
    client, name = location.client(), f"{PROJECT}.labels.complete"
    client.query(f"CREATE OR REPLACE TABLE `{name}` (span INT64, version INT64)").result()
    return CompleteSpans(events, name), lambda values: client.query(
        f"INSERT INTO `{name}` VALUES {values}"
    ).result()


def test_fetch_copies_new_complete_spans_and_versions(complete, log, tmp_path):
    table, insert = complete
    calls = []

    def fetch():
        calls.clear()
        table.fetch(tmp_path / "log", lambda span, rows: calls.append((span, rows)))
        return [span for span, _ in calls]

    assert fetch() == []
    insert("(1, 0), (0, NULL)")
    assert fetch() == [0, 1]
    assert as_rows(sort(read_log(tmp_path / "log", 1))) == as_rows(sort(read_log(log, 1)))
    assert fetch() == [], "a span in the log is not fetched again"
    insert("(1, 2), (77, 0)")
    assert fetch() == [1, 77]
    assert calls[1] == (77, 0)
    assert span_versions(tmp_path / "log") == {0: 0, 1: 2, 77: 0}
    with pytest.raises(EmptySpan):
        check_span(tmp_path / "log", 77, LOG_COLUMNS)


def test_a_table_without_the_columns_of_complete_spans_is_refused(complete, events):
    with pytest.raises(BadInput, match=r"labels.nothing: complete spans cannot be read: expected a table"):
        CompleteSpans(events, f"{PROJECT}.labels.nothing").read_versions()
    with pytest.raises(BadInput, match=r"labels.events: complete spans cannot be read"):
        CompleteSpans(events, events.name).read_versions()
    with pytest.raises(BadInput, match=r"spans_table .* not a table's name: expected PROJECT"):
        CompleteSpans(events, "spans`; DROP TABLE x")


def test_the_teachers_loop_fetches_complete_spans_and_waits_for_the_others(complete, events, uri, tmp_path):
    table, insert = complete
    insert("(0, 0), (1, 0)")
    deployment = dataclasses.replace(
        load_deployment(CONFIG), label_store=uri, events_table=events.name, spans_table=table.name
    )
    paths = RunPaths(tmp_path / "root", tmp_path / "log")
    surfaces = Loop(deployment, paths, Progress(Console(quiet=True)), ["tab_1"])
    with pytest.raises(InputNotReady):
        surfaces.catch_up()
    assert list(paths.events.iterdir()) == []
    with pytest.raises(InputNotReady, match=r"the burn-in needs span 2: .* got spans 0 to 1"):
        Loop(deployment, paths, Progress(Console(quiet=True))).catch_up()


def test_the_loop_waits_if_bigquery_does_not_answer(events, location, tmp_path, monkeypatch):
    monkeypatch.setattr(complete_spans, "_TIMEOUT_SECONDS", 1.0)
    unreachable = dataclasses.replace(location, endpoint="http://127.0.0.1:9")
    deployment = dataclasses.replace(
        load_deployment(CONFIG),
        label_store=unreachable.uri,
        events_table=events.name,
        spans_table=events.name,
    )
    loop = Loop(deployment, RunPaths(tmp_path / "root", tmp_path / "log"), Progress(Console(quiet=True)))
    with pytest.raises(InputNotReady, match="BigQuery cannot be read: expected the complete spans"):
        loop.catch_up()


def test_the_command_line_reads_spans_of_the_table(events, uri, log, tmp_path):
    command = ["events", "bigquery", "--store", uri, "--table", events.name, "--spans", "0:1"]
    runner = click.testing.CliRunner()
    result = runner.invoke(cli, [*command, "--out", str(tmp_path / "log")], catch_exceptions=False)
    assert result.exit_code == 0
    assert as_rows(sort(read_log(tmp_path / "log", 1))) == as_rows(sort(read_log(log, 1)))


def test_a_surface_without_impressions_and_sets_without_rows_join_to_empty_shards(events, uri, tmp_path):
    store = open_store(uri)
    key = LabelSetKey(teacher="empty", teacher_version="7", span=4)
    record = store.publish(store.stage(key, {"click": CLICK}), [], FACTS)
    report = BigQueryJoin(
        events=events,
        columns=LOG_COLUMNS,
        output_uri=str(tmp_path / "sql"),
        span=4,
        surface="nowhere",
        records=[record],
        delays=DELAYS,
    ).run()
    assert (report.fresh_rows, report.matured_rows, report.coverage) == (0, 0, 1.0)
    for split in SPLITS:
        assert [
            list(read_shards([path], 10, LOG_SCHEMA)) for path in split_files(str(tmp_path / "sql"), split)
        ] == [[] for _ in range(4)]


def test_the_component_joins_in_bigquery_if_events_table_is_set(events, uri, log, tmp_path):
    """The component's properties under `join: bigquery`."""
    record = publish(uri, log, 3, every=4)
    joined = standard_artifacts.Examples()
    joined.uri = str(tmp_path / "joined")
    settings = JoinSettings(
        fleet="tested",
        source=LabelSource(teacher="big"),
        tasks={"click": Task(kind="binary", group="pet")},
        events_table=events.name,
        columns=EventColumns(
            schema=str(shipped_schema("impressions.pbtxt")), delays=LOG_COLUMNS.delays, features=()
        ),
        coverage_floor=0.5,
        without_labels="stop",
    )
    properties = {"store": uri, "span": 3, "surface": "tab_1", "settings": to_json(settings)}
    # The join reads the impressions from BigQuery, not from the Examples artifact.
    SoftLabelTransformExecutor().Do(
        {"examples": [standard_artifacts.Examples()]}, {"joined": [joined]}, properties
    )
    assert properties["label_set"] == record.set_id == open_store(uri).read_pin("tested", 3)
    report = read_join_report(joined.uri)
    rows = read_log(log, 3).to_pylist()
    assert report.fresh_rows == sum(row["surface"] == "tab_1" and row["impression_span"] == 3 for row in rows)
    assert joined.get_float_custom_property("coverage") == pytest.approx(report.coverage)
    assert 0.6 < report.coverage < 0.9


def test_the_join_in_bigquery_gives_the_same_rows_as_the_beam_join(events, uri, log, tmp_path):
    span, surface = 4, "tab_1"
    records = [publish(uri, log, span, every=10), publish(uri, log, span - 3, every=5)]
    encode = EncodeEvents(str(log), LOG_COLUMNS, span, str(tmp_path / "examples"), 150)
    run_and_collect(lambda pipeline: pipeline | encode, BEAM, str(tmp_path / "scratch"))
    beam_join = JoinSoftLabels(
        examples_uri=str(tmp_path / "examples"),
        output_uri=str(tmp_path / "beam"),
        span=span,
        surface=surface,
        store_uri=uri,
        set_ids=[record.set_id for record in records],
        delays=DELAYS,
    )
    expected = join_span(beam_join, BEAM, str(tmp_path / "scratch"))
    report = BigQueryJoin(
        events=events,
        columns=LOG_COLUMNS,
        output_uri=str(tmp_path / "sql"),
        span=span,
        surface=surface,
        records=records,
        delays=DELAYS,
    ).run()
    assert report == expected == read_join_report(str(tmp_path / "sql"))
    assert 0 < report.labelled_fresh_rows < report.fresh_rows
    assert 0 < report.labelled_matured_rows < report.matured_rows
    soft = [pa.field(f"soft_{task}", pa.float32()) for task in DELAYS]
    schema = pa.schema([*LOG_SCHEMA, *soft])
    for split in SPLITS:
        pairs = [split_files(str(tmp_path / side), split) for side in ("beam", "sql")]
        assert [path.rpartition("/")[2] for path in pairs[0]] == [p.rpartition("/")[2] for p in pairs[1]]
        for ours, theirs in zip(*pairs, strict=True):
            one, other = (
                pa.Table.from_batches(read_shards([path], 1000, schema), schema=schema)
                for path in (ours, theirs)
            )
            assert as_rows(one) == as_rows(other)


def test_the_join_in_bigquery_adds_the_history_that_the_examples_have(events, uri, log, tmp_path):
    span, surface = 4, "tab_1"
    records = [publish(uri, log, span, every=10)]
    history = History(
        entities={"viewer": "user_id", "tag": "tag"},
        tasks=("click",),
        sequences={"recent": ItemSequence(entity="viewer", column="video_id", length=3)},
    )
    source = HistorySource(history=history, log=str(log), folder=str(tmp_path / "history"))
    lookup = complete_here(open_state(source, LOG_COLUMNS), [span - age for age in LOG_COLUMNS.ages])
    encode = EncodeEvents(
        str(log), LOG_COLUMNS, span, str(tmp_path / "examples"), surface=surface, history=lookup
    )
    run_and_collect(lambda pipeline: pipeline | encode, BEAM, str(tmp_path / "scratch"))
    BigQueryJoin(
        events=events,
        columns=LOG_COLUMNS,
        output_uri=str(tmp_path / "sql"),
        span=span,
        surface=surface,
        records=records,
        delays=DELAYS,
        history=source,
    ).run()
    schema = pa.schema([*LOG_SCHEMA, *history.produced])
    for split in SPLITS:
        tables = []
        for side in ("examples", "sql"):
            files = split_files(str(tmp_path / side), split)
            tables.append(sort(pa.Table.from_batches(read_shards(files, 1000, schema), schema=schema)))
        assert tables[0].num_rows
        assert tables[0].select(history.produced.names).equals(tables[1].select(history.produced.names))


@pytest.mark.parametrize(
    "name", ["p.d.t` WHERE 1=1 --", "p.d", "p.d.t\n", "P.d.t", "p`.d.t", "p.d.t; DROP TABLE x"]
)
def test_a_table_name_that_is_sql_is_refused(name):
    with pytest.raises(BadInput, match="not a table's name: expected PROJECT"):
        require_table_name(name, "events table")


@pytest.mark.parametrize("task", ["click, (SELECT 1) AS x", "click`", "click-2", "", "a.b", "click\n"])
def test_a_task_name_that_is_sql_is_refused(task):
    require_column_name("long_view")
    with pytest.raises(BadInput, match="not a column's name: expected letters, digits and _"):
        require_column_name(task)
