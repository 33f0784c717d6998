"""Writes and reads the ids of random exposures, for `rankdistill online --replay`.

In a random exposure the video was drawn at random, not ranked.

LOG/_random_exposures/span=N.parquet   example ids of span N; no file if the span has no random exposure
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from eventlog.errors import BadInput
from eventlog.parquet_files import read_table, write_table
from eventlog.rows import EXAMPLE_ID, FIXED_COLUMNS

_FOLDER = "_random_exposures"
_SCHEMA = pa.schema([FIXED_COLUMNS.field(EXAMPLE_ID)])


def write_random_exposures(log: Path, span: int, example_ids: pa.Array) -> None:
    """Replaces the file of one span. `example_ids` is `[exposures]` string; if empty, no file remains."""
    file = _file(log, span)
    if not len(example_ids):
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    write_table(pa.Table.from_arrays([example_ids], schema=_SCHEMA), partial)
    partial.replace(file)


def read_random_exposures(log: Path, spans: range) -> pa.Array:
    """Reads the example ids of the random exposures of several spans, `[exposures]` string.

    Raises:
        BadInput: if none of these spans has random exposures.
    """
    files = [file for file in (_file(log, span) for span in spans) if file.is_file()]
    if not files:
        raise BadInput(
            "no random exposures", where=str(log / _FOLDER),
            expected=f"impressions drawn at random in spans {spans.start} to {spans.stop - 1}",
            got="none", fix="Convert KuaiRand with its log_random files, or omit --replay.",
        )  # fmt: skip
    return pa.concat_tables(map(read_table, files))[EXAMPLE_ID].combine_chunks()


def _file(log: Path, span: int) -> Path:
    return log / _FOLDER / f"span={span}.parquet"
