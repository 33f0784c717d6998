"""Copies complete spans from BigQuery into the event log.

The deployment's key `spans_table` names a table that lists the complete spans. Each row has two integer
columns, `span` and `version` (0 or null: the original version). The job that loads impressions adds the row
after all impressions of the span. The row corresponds to the file `_SUCCESS` in a span's folder of an event
log.
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
    """The table of complete spans, together with the table of impressions.

    Attributes:
        events: table of impressions.
        name: `project.dataset.table` of the table of complete spans.

    Raises:
        BadInput: if `name` has another form.
    """

    events: EventTable
    name: str

    def __post_init__(self) -> None:
        require_table_name(self.name, "spans_table")

    def read_versions(self) -> dict[int, int]:
        """Reads the table of complete spans: span → newest complete version.

        Raises:
            BadInput: if the table or a column is missing.
            google.api_core.exceptions.RetryError: if BigQuery does not answer for 30 seconds.
        """
        # __post_init__ has checked the name.
        sql = f"SELECT span, MAX(IFNULL(version, 0)) AS version FROM `{self.name}` GROUP BY span"  # noqa: S608
        try:
            # A short timeout, because serve-loop itself retries, and must be able to stop between two tries.
            retry = DEFAULT_RETRY.with_timeout(_TIMEOUT_SECONDS)
            job = self.events.location.client().query(sql, retry=retry, job_retry=None)
            rows = job.result(retry=retry)
        except (exceptions.NotFound, exceptions.BadRequest) as error:
            raise BadInput(
                "complete spans cannot be read", where=f"spans_table {self.name}",
                expected="a table with the integer columns span and version",
                got=error.message.splitlines()[0][:200], fix="Create the table, or correct its name.",
            ) from error  # fmt: skip
        return {row.span: row.version for row in rows}

    def fetch(self, log: Path, on_span: Callable[[int, int], object]) -> None:
        """Copies the newest version of each span, unless the event log has it, by ascending span.

        A span is written completely or not at all.

        Args:
            log: folder of the event log.
            on_span: called after each copy with the span and its number of rows.

        Raises:
            BadInput: see `read_versions` and `EventTable.read_rows`.
        """
        log_versions = span_versions(log) if log.is_dir() else {}
        for span, version in sorted(self.read_versions().items()):
            if version > log_versions.get(span, -1):
                on_span(span, write_span(log, span, [self.events.read_rows(span)], version))
