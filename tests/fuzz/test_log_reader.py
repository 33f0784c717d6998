"""Any span of a log is refused in one line, or is read by the pipeline and the experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from components.transforms.encode_events import plan_shards, read_row_range, split_rows
from components.transforms.shards import encode_examples
from eventlog.checks import check_span
from eventlog.kuairand.columns import DELAYED_TASKS, IMMEDIATE_TASKS, LOG_COLUMNS, LOG_SCHEMA, LTV_DELAY
from eventlog.spans import SUCCESS, count_surfaces, span_files, span_folder
from experiments.trials.loading import LogSource, training_examples
from tests.fuzz.mutation import Case, mutated
from tests.fuzz.running import accepted, corpus, run_case, run_examples
from tests.fuzz.tables import as_parquet, parquet_files

TARGET = "log_reader"
SPAN = LTV_DELAY
PART, SECOND_PART = "part-00000.parquet", "part-00001.parquet"


def row(example_id: str, span: int, tasks: tuple[str, ...], **features: Any) -> dict[str, Any]:
    fixed = {"event_time_ms": 1_650_000_000_000, "surface": "tab_1", "cluster_id": "u"}
    labels = {f"label_{task}": 1.0 for task in tasks}
    return {"example_id": example_id, "impression_span": span, **fixed, **labels, **features}


TABLE = pa.Table.from_pylist(
    [
        row("a", SPAN, IMMEDIATE_TASKS, tag=["x", "y"], hour=3, author_id="90"),
        row("b", SPAN, IMMEDIATE_TASKS, user_traits=[], duration_seconds=2.5),
        row("a", 0, DELAYED_TASKS, tag=["x"]),
    ],
    schema=LOG_SCHEMA,
)
OTHER_TABLE = pa.Table.from_pylist([row("c", SPAN, IMMEDIATE_TASKS)], schema=LOG_SCHEMA)
CASES = (
    st.fixed_dictionaries({PART: mutated(as_parquet(TABLE))})
    | st.fixed_dictionaries({PART: parquet_files(TABLE)})
    | st.fixed_dictionaries({PART: parquet_files(TABLE), SECOND_PART: parquet_files(OTHER_TABLE)})
)


def check(case: Case, folder: Path) -> None:
    span = span_folder(folder, SPAN)
    span.mkdir()
    (span / SUCCESS).touch()
    for name, content in case.items():
        (span / name).write_bytes(content)
    counts = accepted(check_span, folder, SPAN, LOG_COLUMNS)
    if counts is None:
        return
    assert sum(count_surfaces(folder, [SPAN]).values()) == counts.total
    files = [(str(file), int(pq.read_metadata(file).num_rows)) for file in span_files(folder, SPAN)]
    records = 0
    for row_range in plan_shards(files, rows_per_shard=2):
        for rows in split_rows(read_row_range(row_range, LOG_SCHEMA), SPAN).values():
            records += len(encode_examples(rows))
    assert records == counts.total
    assert LogSource(folder, LOG_COLUMNS).read(SPAN).num_rows == counts.fresh + counts.matured
    assert len(list(training_examples(SPAN, LogSource(folder, LOG_COLUMNS)))) <= counts.fresh


@pytest.mark.parametrize("case", corpus(TARGET))
def test_a_saved_span_is_refused_in_one_line_or_encoded(case: Case) -> None:
    run_case(case, check)


def test_any_span_is_refused_in_one_line_or_encoded() -> None:
    run_examples(TARGET, CASES, check, examples=40)
