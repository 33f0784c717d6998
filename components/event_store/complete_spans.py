"""Copies complete spans from BigQuery into the event log; the table `spans_table` lists the complete spans.

Each row of `spans_table` has two integers, `span` and `version`; version 0 or null is the original span. The
job that loads impressions adds the row when all rows of the span are loaded, like `_SUCCESS` in a folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from google.api_core import exceptions
from google.cloud.bigquery.retry import DEFAULT_RETRY

from components.event_store.event_table import EventTable, require_table_name
from eventlog.errors import BadInput
from eventlog.spans import span_versions, write_span

_TIMEOUT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class CompleteSpans:
    """The table of complete spans, and the table of their impressions.

    Attributes:
        events: table of impressions.
        name: `project.dataset.table` of the complete spans.

    Raises:
        BadInput: if `name` does not have this form.
    """

    events: EventTable
    name: str

    def __post_init__(self) -> None:
        require_table_name(self.name, "spans_table")

    def versions(self) -> dict[int, int]:
        """Returns span → newest complete version.

        Raises:
            BadInput: if the table or a column is missing.
            google.api_core.exceptions.RetryError: if BigQuery does not answer for 30 seconds.
        """
        # The name is checked by require_table_name.
        sql = f"SELECT span, MAX(IFNULL(version, 0)) AS version FROM `{self.name}` GROUP BY span"  # noqa: S608
        try:
            # Short, because serve-loop retries by itself and must be able to stop between two tries.
            retry = DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)
            job = self.events.location.client().query(sql, retry=retry, job_retry=None)
            rows = job.result(retry=retry)
        except (exceptions.NotFound, exceptions.BadRequest) as error:
            raise BadInput(
                "complete spans cannot be read", where=f"spans_table {self.name}",
                expected="a table with the integer columns span and version",
                got=error.message.splitlines()[0][:200], fix="Create it, or correct its name.",
            ) from error  # fmt: skip
        return {row.span: row.version for row in rows}

    def fetch(self, log: Path, on_span: Callable[[int, int], object]) -> None:
        """Copies the complete spans that an event log lacks, by ascending span, each completely or not at
        all.

        Args:
            log: folder of the event log.
            on_span: called with each span and its number of rows.

        Raises:
            BadInput: see `versions` and `EventTable.read_rows`.
        """
        log_versions = span_versions(log) if log.is_dir() else {}
        for span, version in sorted(self.versions().items()):
            if version > log_versions.get(span, -1):
                on_span(span, write_span(log, span, [self.events.read_rows(span)], version))
