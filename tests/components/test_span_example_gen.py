import json

import pytest
from tfx.dsl.components.base import base_beam_executor
from tfx.types.standard_artifacts import Examples

from components.event_schema import EventColumns
from components.span_example_gen import NEWEST, SpanExampleGenExecutor
from eventlog.kuairand.columns import LOG_COLUMNS
from eventlog.parquet_files import read_table
from eventlog.simulator import simulate
from eventlog.spans import span_files, write_span
from models.settings import to_json
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two spans of 100 rows; span 1 has a revised version with the last 60 rows."""
    log = tmp_path_factory.mktemp("log") / "log"
    simulate(log, spans=2, examples_per_span=100, seed=1)
    write_span(log, 1, [read_table(span_files(log, 1)[0])[-60:]], version=1)
    return log


@pytest.mark.parametrize(
    ("first", "version", "num_rows", "written_version"),
    [(1, NEWEST, 60, 0), (1, 0, 100, 0), (1, 1, 60, 1), (0, NEWEST, 160, 0)],
)
def test_the_newest_version_of_each_span_is_read_unless_one_is_named(
    log, tmp_path, first, version, num_rows, written_version
):
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[], tmp_dir=str(tmp_path / "tmp"), unique_id="1"
    )
    examples = Examples()
    examples.uri = str(tmp_path / "examples")
    columns = EventColumns(
        schema=str(REPOSITORY / "schema" / "impressions.pbtxt"), delays=dict(LOG_COLUMNS.delays), features=()
    )
    properties = {
        "events": str(log), "columns": to_json(columns), "first_span": first, "last_span": 1,
        "rows_per_shard": 1000, "surface": "", "labelled_tasks": json.dumps([]), "version": version,
        "history": "",
    }  # fmt: skip
    SpanExampleGenExecutor(context).Do({}, {"examples": [examples]}, properties)
    assert examples.get_int_custom_property("fresh_rows") == num_rows
    assert examples.version == written_version
