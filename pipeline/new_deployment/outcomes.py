"""Finds columns that are probably known only after the impression; as features they would reveal a label."""

from __future__ import annotations

from collections.abc import Sequence

from eventlog.tables.database import Database
from eventlog.tables.expressions import SOURCE
from pipeline.new_deployment.table_profile import ColumnProfile

_MIN_ROWS = 20
_MAX_SET_RATIO = 0.1
"""Largest ratio: share of rows without the outcome in which a column is set / share of rows with it."""
_MAX_ERROR_RATIO = 0.05
"""Largest ratio: rows whose label is guessed wrongly from the column's value / rows of the rarer label."""


def find_revealing_columns(
    database: Database, columns: Sequence[ColumnProfile], labels: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """The columns of the source that reveal a label.

    Two signs count. A column has few values, and each goes almost always with the same value of the label: a
    payment is `paid` or `none`. Or a column is mostly 0 or null, and is set almost only with the label: the
    time spent in the comments is above 0 only after a click.

    Args:
        database: has the sample of the source.
        columns: the columns to look at.
        labels: name of a task and SQL that is true for rows with the outcome.

    Returns:
        `TABLE.COLUMN` → the reason.
    """
    reasons: dict[str, str] = {}
    for column in columns:
        for task, outcome in labels:
            if _value_reveals(database, column, outcome):
                how = f"its value tells {task}"
            elif _is_set_only_with(database, column, outcome):
                how = f"set almost only with {task}"
            else:
                continue
            reasons[f"{column.table}.{column.name}"] = f"probably known only after the impression: {how}"
            break
    return reasons


def _value_reveals(database: Database, column: ColumnProfile, outcome: str) -> bool:
    """Whether the most frequent outcome of each value is nearly always right."""
    if not column.values:
        return False
    ((errors, rarer),) = database.rows(
        "SELECT sum(least(num_with, num_without)), least(sum(num_with), sum(num_without)) FROM ("  # noqa: S608
        f"SELECT count(*) FILTER ({outcome}) AS num_with, count(*) FILTER (NOT {outcome}) AS num_without"
        f" FROM {SOURCE} GROUP BY {column.sql})"
    )
    return bool(rarer >= _MIN_ROWS and errors < _MAX_ERROR_RATIO * rarer)


def _is_set_only_with(database: Database, column: ColumnProfile, outcome: str) -> bool:
    """Whether a column that is mostly 0 or null has another value almost only in rows with the outcome."""
    is_number = column.kind in ("boolean", "integer", "number")
    if not is_number or column.zero_share * (1 - column.null_share) + column.null_share < 0.5:
        return False
    is_set = f"coalesce(CAST({column.sql} AS DOUBLE), 0) <> 0"
    found = database.rows(
        f"SELECT count(*) FILTER ({is_set} AND {outcome}) / count(*) FILTER ({outcome}),"  # noqa: S608
        f" count(*) FILTER ({is_set} AND NOT {outcome}) / count(*) FILTER (NOT {outcome})"
        f" FROM {SOURCE} HAVING count(*) FILTER ({is_set} AND {outcome}) >= {_MIN_ROWS}"
    )
    return bool(found and found[0][1] is not None and found[0][1] < _MAX_SET_RATIO * found[0][0])
