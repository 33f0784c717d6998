"""Copies complete spans from BigQuery to the event log."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import Deployment
from pipeline.driver.log_checks import InputNotReady
from pipeline.paths import RunPaths


def fetch_spans(deployment: Deployment, paths: RunPaths, print_line: Callable[[str], object]) -> None:
    """Copies the complete spans that the event log lacks, if the deployment has a `spans_table`.

    Raises:
        BadInput: if a table or a column is missing.
        InputNotReady: if BigQuery cannot be read.
    """
    if deployment.spans_table is None:
        return
    # Imported here: a run without BigQuery does not need its clients.
    from google.api_core.exceptions import GoogleAPICallError, RetryError

    from components.event_store.complete_spans import CompleteSpans
    from components.event_store.event_table import EventTable
    from components.label_store.bigquery.location import parse_location

    location = parse_location(deployment.label_store.partition("://")[2])
    table = CompleteSpans(EventTable(location, deployment.events_table or ""), deployment.spans_table)
    try:
        table.fetch(paths.events, lambda span, rows: print_line(f"span {span}: {rows} rows fetched"))
    except (GoogleAPICallError, RetryError) as error:
        raise InputNotReady(
            "BigQuery cannot be read", where=f"spans_table {deployment.spans_table}",
            expected="the complete spans", got=f"{error}".splitlines()[0][:200],
            fix="Check BigQuery and the credentials; serve-loop tries again.",
        ) from error  # fmt: skip
