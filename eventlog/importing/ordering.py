"""Brings the rows of an import into the order of time, and marks the duplicates among them."""

from __future__ import annotations

from eventlog.importing.staging import BUCKET, CONTENT, REASON, ROWS
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID
from eventlog.tables.database import Database


def order_rows(database: Database, *, is_source_ordered: bool, by_count: bool) -> None:
    """Sorts `ROWS` by bucket and time, if it is not in this order already.

    Without sorting, rows of the same time stay in the order of the source. With sorting, they get the order
    of their ids. So the order never depends on threads.

    Args:
        database: the database with `ROWS`.
        is_source_ordered: whether `ROWS` has the order of the source; joins change the order.
        by_count: whether a span is a number of rows. The rows are then sorted by time alone.
    """
    keys = EVENT_TIME_MS if by_count else f"{BUCKET}, {EVENT_TIME_MS}"
    if is_source_ordered and _is_ordered(database, by_count=by_count):
        return
    database.run(
        f"CREATE TEMP TABLE __sorted AS SELECT * FROM {ROWS} ORDER BY {keys}, {EXAMPLE_ID}"  # noqa: S608
    )
    database.run(f"DROP TABLE {ROWS}")
    database.run(f"ALTER TABLE __sorted RENAME TO {ROWS}")


def _is_ordered(database: Database, *, by_count: bool) -> bool:
    key = "0" if by_count else BUCKET
    query = f"""
    SELECT count(*) = 0 FROM (
      SELECT bucket < last OR (bucket = last AND ms < last_ms) AS is_back FROM (
        SELECT bucket, ms, lag(bucket) OVER () AS last, lag(ms) OVER () AS last_ms
        FROM (SELECT {key} AS bucket, {EVENT_TIME_MS} AS ms FROM {ROWS} WHERE {BUCKET} IS NOT NULL)
      )
    ) WHERE is_back
    """  # noqa: S608 - only constants
    return bool(database.value(query))


def mark_duplicates(database: Database, policy: str, period: str, reason: int) -> int:
    """Marks the good rows of `ROWS` that repeat an id of their period as dropped, or changes their id.

    Of the rows with one id in one period, the first in order of time and then of content does not change.

    Args:
        database: the database with `ROWS`.
        policy: see `TableMapping.duplicates`.
        period: SQL for the period of a row of `ROWS`, from `row_period_sql`.
        reason: number of the reason of dropped rows, from `Staging.add_reason`.

    Returns:
        The number of dropped rows.
    """
    # A hash needs less memory than an id; two ids with one hash are separated below.
    key = f"hash({EXAMPLE_ID}, {period})"
    database.run(
        f"CREATE TEMP TABLE __repeated AS SELECT {key} AS key"  # noqa: S608 - only constants
        f" FROM {ROWS} WHERE {REASON} IS NULL GROUP BY ALL HAVING count(*) > 1"
    )
    if not database.value("SELECT count(*) FROM __repeated"):
        return 0
    # A copy of another row has the ordinal 0. The different rows of an id are counted from 1.
    is_copy = "row_number() OVER (PARTITION BY period, id, content ORDER BY row) > 1"
    ordinal = "dense_rank() OVER (PARTITION BY period, id ORDER BY ms, content)"
    content = CONTENT if policy == "number" else f"CAST({ROWS} AS VARCHAR)"
    database.run(f"""
    CREATE TEMP TABLE __duplicates AS
    WITH candidates AS MATERIALIZED (
      SELECT {ROWS}.rowid AS row, {period} AS period FROM {ROWS} SEMI JOIN __repeated ON key = {key}
      WHERE {REASON} IS NULL
    ), contents AS (
      SELECT row, period, {EXAMPLE_ID} AS id, {EVENT_TIME_MS} AS ms, {content} AS content
      FROM {ROWS} JOIN candidates ON {ROWS}.rowid = candidates.row
    )
    SELECT row, id, CASE WHEN {is_copy} THEN 0 ELSE {ordinal} END AS ordinal FROM contents
    """)  # noqa: S608 - only constants
    is_dropped = "ordinal = 0" if policy == "number" else "ordinal <> 1"
    sample = "__sample = 'id ' || __duplicates.id"
    database.run(
        f"UPDATE {ROWS} SET {REASON} = {reason}, {sample} FROM __duplicates"  # noqa: S608 - only constants
        f" WHERE {ROWS}.rowid = row AND {is_dropped}"
    )
    if policy == "number":
        database.run(
            f"UPDATE {ROWS} SET {EXAMPLE_ID} = id || '-' || ordinal FROM __duplicates"  # noqa: S608
            f" WHERE {ROWS}.rowid = row AND ordinal > 1"
        )
    num_dropped: int = database.value(f"SELECT count(*) FROM __duplicates WHERE {is_dropped}")  # noqa: S608
    return num_dropped
