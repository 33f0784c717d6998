"""Reads the number of complete spans, the last row and the numbers of rows of an event log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from eventlog.rows import EXAMPLE_ID, IMPRESSION_SPAN
from eventlog.spans import complete_spans, span_files, span_versions
from eventlog.tables.database import Database, literal


class WrittenSpans:
    """The complete spans of a log.

    Args:
        database: reads the files.
        log: the log's folder.

    Raises:
        BadInput: if the log has a gap.
    """

    def __init__(self, database: Database, log: Path) -> None:
        self._database = database
        self._log = log.absolute()
        self.num_spans = len(complete_spans(log)) if span_versions(log) else 0

    def last_id(self) -> str | None:
        """Example id of the last fresh row; None if there is no span."""
        if not self.num_spans:
            return None
        last = self.num_spans - 1
        last_id: str = self._database.value(
            f"SELECT {EXAMPLE_ID} FROM {self._read([last], 'file_row_number = true')}"  # noqa: S608
            f" WHERE {IMPRESSION_SPAN} = {last} ORDER BY filename DESC, file_row_number DESC LIMIT 1"
        )
        return last_id

    def ids(self) -> str:
        """SQL for a relation with the example ids of all rows; empty if there is no span."""
        return self._read(list(range(self.num_spans))) if self.num_spans else ""

    def differences(self, num_rows: Mapping[int, int]) -> Iterator[str]:
        """A line for each written span whose number of rows in the source has changed.

        Args:
            num_rows: span → number of good rows in the source.
        """
        spans = [span for span in num_rows if span < self.num_spans]
        if not spans:
            return
        folder = "CAST(regexp_extract(parse_path(filename)[-2], 'span=([0-9]+)', 1) AS BIGINT)"
        written = self._database.rows(
            f"SELECT {IMPRESSION_SPAN}, count(*) FROM {self._read(spans)}"  # noqa: S608
            f" WHERE {IMPRESSION_SPAN} = {folder} GROUP BY ALL"
        )
        for span, count in sorted(written):
            if num_rows[span] != count:
                yield (
                    f"span {span} is written and stays as it is: it has {count} rows, "
                    f"the source now has {num_rows[span]}"
                )

    def _read(self, spans: list[int], options: str = "filename = true") -> str:
        files = [str(file) for span in spans for file in span_files(self._log, span)]
        return f"read_parquet({literal(files)}, hive_partitioning = false, filename = true, {options})"
