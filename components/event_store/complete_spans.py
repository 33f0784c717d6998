"""A table in BigQuery whose rows say which spans are complete, and the event log that follows it.

A row is `span, version`, both integers; version 0, or null, is a span's first statement. Whoever loads
impressions adds the row when all of the span's are there: it is what `_SUCCESS` is in a folder.
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

_PATIENCE_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class CompleteSpans:
    """A table of complete spans, beside that of their impressions.

    Attributes:
        events: the impressions.
        name: `project.dataset.table` of the complete spans.

    Raises:
        BadInput: if the name is not of that form.
    """

    events: EventTable
    name: str

    def __post_init__(self) -> None:
        require_table_name(self.name, "spans_table")

    def versions(self) -> dict[int, int]:
        """The newest complete version of each span.

        Raises:
            BadInput: if there is no such table, or it lacks a column.
            google.api_core.exceptions.RetryError: if BigQuery does not answer for half a minute.
        """
        sql = f"SELECT span, MAX(IFNULL(version, 0)) AS version FROM `{self.name}` GROUP BY span"
        try:
            # A loop that serves asks again by itself, and must be able to stop in between.
            patience = DEFAULT_RETRY.with_timeout(_PATIENCE_SECONDS)
            job = self.events.location.client().query(sql, retry=patience, job_retry=None)
            rows = job.result(retry=patience)
        except (exceptions.NotFound, exceptions.BadRequest) as error:
            raise BadInput(
                "complete spans cannot be read", where=f"spans_table {self.name}",
                expected="a table with the integer columns span and version",
                got=error.message.splitlines()[0][:200], fix="Create it, or correct its name.",
            ) from error  # fmt: skip
        return {row.span: row.version for row in rows}

    def fetch(self, log: Path, on_span: Callable[[int, int], object]) -> None:
        """Copies what is complete and not yet in an event log, spans ascending; each appears whole.

        Args:
            log: its folder.
            on_span: told of each span and its rows.

        Raises:
            BadInput: see `versions` and `EventTable.rows_of`.
        """
        held = span_versions(log) if log.is_dir() else {}
        for span, version in sorted(self.versions().items()):
            if version > held.get(span, -1):
                on_span(span, write_span(log, span, [self.events.rows_of(span)], version))
