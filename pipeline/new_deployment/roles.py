"""Guesses the role of each column: user, item, surface, label or feature."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eventlog.errors import BadInput
from eventlog.tables.database import Database, identifier
from eventlog.tables.expressions import SOURCE
from pipeline.new_deployment.event_time import EventTime, read_as_time
from pipeline.new_deployment.names import plain_name, unique_name
from pipeline.new_deployment.outcomes import find_revealing_columns
from pipeline.new_deployment.table_profile import ColumnProfile, Profiles, all_columns

_USER = r"user|kund|customer|client|member|visitor|account|session|nutzer|person|listener|^uid$|device_id"
_ITEM = (
    r"item|video|product|artikel|article|movie|film|song|track|music|doc|content|offer|^ad(_|$)|sku|book|post"
)
_SURFACE = r"surface|page|seite|tab$|placement|platz|screen|channel|kanal|context|slot|feed|section|source"
_BINARY = (
    r"click|klick|like|buy|bought|purchas|gekauft|kauf|order|bestell|skip|play|convers|convert|return|retour"
    r"|share|follow|complet|watch|view|label|target|outcome|subscri|open|success|response|hit|save|fav"
)
_SATISFACTION = r"like|rating|share|follow|return|retour|complet|fav|save|score|stars|subscri"
_RATING = r"rating|score|stars|bewertung|note|grade"
_MONEY = r"revenue|amount|betrag|umsatz|spend|spent|paid|payment|gmv|turnover|erloes|erlos"
_SECONDS = r"watch|play|listen|dwell|duration_watched|ms_played|time_spent|seconds_played|verweil|sekunden"
_MILLISECONDS = r"(^|_)ms(_|$)|milli"
_SUMMARY = r"(^|_)(total|sum|avg|average|mean|count|num|number|rate|ctr|anzahl|summe|mittel)(_|$)"
_POSITION = r"(^|_)(position|rank|platz|slot)$"
_QUANTITY = (
    r"second|sekunde|(^|_)ms(_|$)|count|(^|_)num(_|$)|price|preis|length|duration|size|(^|_)age$|year|jahr"
)
_ID = r"(^|_)(id|nr|nummer|code|key|zip|plz|hash)$"
_TIME_FEATURES = (
    ("hour", "hour", tuple(map(str, range(24)))),
    ("weekday", "isodow", tuple(map(str, range(1, 8)))),
)
"""Name, function of DuckDB and values of the features that are computed from the time."""
_FREE_TEXT_LENGTH = 40
_MAX_CATEGORIES = 12
"""An integer with more values, such as an age, is a number and not a category."""


@dataclass(frozen=True)
class Label:
    """A task of the first deployment.

    Attributes:
        task: its name.
        value: expression for its label.
        kind: `binary` or `regression`.
        group: `pet` or `pst`.
        column: its column in the source.
        unit: unit of a regression.
    """

    task: str
    value: str
    kind: Literal["binary", "regression"]
    group: Literal["pet", "pst"]
    column: ColumnProfile
    unit: str = "probability"


@dataclass(frozen=True)
class FeatureGuess:
    """A feature of the first deployment.

    Attributes:
        name: its name in the log.
        value: expression.
        type: type in the log, see `FeatureSettings`.
        kind: kind of the feature, see `models.features.Feature`.
        buckets: number of buckets; 0 with a vocabulary or for a number.
        vocabulary: the values, if they are few.
        served_as: value in labels, evaluation and serving, for a feature that only training reads.
        column: the column; None for a feature of the time.
    """

    name: str
    value: str
    type: str
    kind: str
    buckets: int = 0
    vocabulary: tuple[str, ...] = ()
    served_as: int | None = None
    column: ColumnProfile | None = None


@dataclass
class Roles:
    """The role of every column.

    Attributes:
        user: the column with the user, or another group of correlated rows.
        item: the column with the item; None if none was found.
        surface: the column with the surface; None for a single surface.
        labels: the tasks.
        features: the features.
        left_out: `TABLE.COLUMN` → the reason why it is no feature.
        unsure: sentences for the user.
    """

    user: ColumnProfile
    item: ColumnProfile | None
    surface: ColumnProfile | None
    labels: list[Label]
    features: list[FeatureGuess]
    left_out: dict[str, str] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)


def guess_roles(profiles: Profiles, time: EventTime) -> Roles:
    """Guesses all roles from names and values.

    Raises:
        BadInput: if no column can be the user or a label.
    """
    # The table has the name `source` too, so no expression can use such a column.
    unusable = {time.column, *(c.name for c in profiles.source.columns if c.name.lower() == SOURCE)}
    source = [column for column in profiles.source.columns if column.name not in unusable]
    unsure: list[str] = []
    user = _user(source, unsure)
    item = _named(source, _ITEM, lambda column: _is_id(column) and column is not user)
    surface = _named(
        source, _SURFACE, lambda column: column not in (user, item) and 1 < len(column.values) <= 20
    )
    if item is None:
        unsure.append("item: no column looks like the id of an item")
    if surface is None:
        unsure.append(
            "surface: no column looks like the place of the ranking, so there is one surface, `all`"
        )
    taken = {column.name for column in (user, item, surface) if column is not None}
    labels = _labels([column for column in source if column.name not in taken], unsure)
    label_columns = [label.column for label in labels]
    roles = Roles(user, item, surface, labels, [], unsure=unsure)
    roles.left_out |= {
        f"{SOURCE}.{name}": "the table has the same name, so no expression can use it"
        for name in unusable - {time.column}
    }
    names: set[str] = set()
    roles.features += [
        FeatureGuess(
            unique_name(name, names), f"CAST({part}({time.local}) AS VARCHAR)", "text", "id", 0, values
        )
        for name, part, values in _TIME_FEATURES
    ]
    revealing = find_revealing_columns(
        profiles.database,
        [column for column in source if column not in (user, item)],
        [(label.task, _outcome_sql(label)) for label in labels],
    )
    unsure += _summaries(profiles)
    for column in (*source, *all_columns(profiles.side_tables)):
        if column is surface or column in label_columns:
            continue
        reason = _reason_left_out(profiles.database, column) or revealing.get(
            f"{column.table}.{column.name}", ""
        )
        if reason:
            roles.left_out[f"{column.table}.{column.name}"] = reason
            continue
        name = unique_name(plain_name(column.name), names)
        guess = _feature(column, name, has_ids=column in (user, item))
        roles.features.append(dataclasses.replace(guess, column=column))
    return roles


def column_sql(column: ColumnProfile) -> str:
    """The column in an expression of the mapping."""
    quoted = column.name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column.name) else identifier(column.name)
    return f"{column.table}.{quoted}"


def _named(
    columns: Sequence[ColumnProfile], pattern: str, is_allowed: Callable[[ColumnProfile], bool]
) -> ColumnProfile | None:
    """The allowed column with the most values among those whose names match the pattern; None if none."""
    found = [
        column for column in columns if re.search(pattern, column.name, re.IGNORECASE) and is_allowed(column)
    ]
    return max(found, key=lambda column: column.num_distinct, default=None)


def _is_id(column: ColumnProfile) -> bool:
    is_quantity = re.search(_QUANTITY, plain_name(column.name))
    return column.kind in ("integer", "text") and column.num_distinct > 1 and not is_quantity


def _user(columns: Sequence[ColumnProfile], unsure: list[str]) -> ColumnProfile:
    user = _named(columns, _USER, _is_id)
    if user is not None:
        return user
    ids = [column for column in columns if _is_id(column) and column.num_distinct < column.num_rows / 2]
    if not ids:
        raise BadInput(
            "no column with a user", where="the source", expected="a column of ids that occur several times",
            got=", ".join(column.name for column in columns)[:300],
            fix="Add the user, the session or another group of rows that belong together.",
        )  # fmt: skip
    user = max(ids, key=lambda column: column.num_distinct)
    unsure.append(f"cluster: no column is named like a user; {user.name} has the most values that repeat")
    return user


def _labels(columns: Sequence[ColumnProfile], unsure: list[str]) -> list[Label]:
    labels = [label for column in columns if (label := _label(column, is_named=True))]
    if not labels:
        labels = [label for column in columns if (label := _label(column, is_named=False))]
        unsure.append("labels: no column is named like an outcome; every column of 0 and 1 is a label")
    if not labels:
        raise BadInput(
            "no column for a label", where="the source",
            expected="a column of 0 and 1, truth values, ratings, amounts or seconds",
            got=", ".join(column.name for column in columns)[:300],
            fix="Add the outcome of each row, such as a click.",
        )  # fmt: skip
    names: set[str] = set()
    labels = [dataclasses.replace(label, task=unique_name(label.task, names)) for label in labels]
    if not any(label.group == "pet" for label in labels):
        labels[0] = dataclasses.replace(labels[0], group="pet")
    return labels


def _label(column: ColumnProfile, *, is_named: bool) -> Label | None:
    name, value = plain_name(column.name), column_sql(column)

    def is_like(pattern: str) -> bool:
        return bool(re.search(pattern, name))

    group: Literal["pet", "pst"] = "pst" if is_like(_SATISFACTION) else "pet"
    is_binary = column.kind == "boolean" or (
        column.kind in ("integer", "number")
        and set(column.values) <= {"0", "1", "0.0", "1.0"}
        and column.values
    )
    if is_binary and (is_like(_BINARY) or not is_named):
        return Label(name, value, "binary", group, column)
    if not is_named or column.kind not in ("integer", "number") or column.low is None or column.low < 0:
        return None
    if is_like(_RATING) and 3 <= len(column.values) <= 20:
        threshold = _middle(column)
        return Label(f"good_{name}", f"{value} >= {threshold:g}", "binary", "pst", column)
    if is_like(_MONEY):
        return Label(name, value, "regression", group, column, "amount")
    if is_like(_SECONDS) and not is_binary:
        value = f"{value} / 1000.0" if is_like(_MILLISECONDS) else value
        return Label(name, value, "regression", "pet", column, "seconds")
    return None


def _middle(column: ColumnProfile) -> float:
    """The first value above the middle of all values, such as 4 of 1 to 5."""
    values = sorted(map(float, column.values))
    return values[(len(values) + 1) // 2]


def _outcome_sql(label: Label) -> str:
    """SQL that is true in rows with the outcome; for an amount or seconds, in rows above 0."""
    value = label.value.replace(column_sql(label.column), f"CAST({label.column.sql} AS DOUBLE)")
    return f"(coalesce(CAST(({value}) AS DOUBLE), 0) <> 0)"


def _summaries(profiles: Profiles) -> list[str]:
    """A doubt about columns of side tables that may summarise events which come later in the source."""
    names = [
        f"{column.table}.{column.name}"
        for column in all_columns(profiles.side_tables)
        if column.kind in ("integer", "number") and re.search(_SUMMARY, plain_name(column.name))
    ]
    if not names:
        return []
    return [
        f"{', '.join(names)}: counts and means of a side table may contain later events; if so, remove them"
    ]


def _reason_left_out(database: Database, column: ColumnProfile) -> str:
    """Why a column is no feature; empty if it is one."""
    is_text = column.kind == "text" and not column.separator
    is_nested = re.match("STRUCT|MAP|BLOB|UNION", column.stored_as) or "[][]" in column.stored_as
    is_long = column.mean_length > _FREE_TEXT_LENGTH and column.num_distinct > column.num_rows / 2
    reasons = {
        "one value": column.num_distinct < 2,
        "a nested type": is_nested,
        "a list of numbers": column.kind == "numbers",
        "free text": is_text and is_long,
        "a time": column.kind == "time",
    }
    found = next((reason for reason, holds in reasons.items() if holds), "")
    if not found and is_text and column.table == SOURCE and read_as_time(database, column) is not None:
        return "a time"
    return found


def _feature(column: ColumnProfile, name: str, *, has_ids: bool) -> FeatureGuess:
    sql, values = column_sql(column), column.values
    if column.kind == "integer" and len(values) > _MAX_CATEGORIES:
        values = ()
    if column.kind == "texts" or column.separator:
        value = f"string_split({sql}, '{column.separator}')" if column.separator else sql
        return FeatureGuess(name, value, "texts", "bag", _buckets(column, values), values)
    is_number = column.kind == "number" or (
        column.kind == "integer" and not values and not has_ids and not re.search(_ID, name)
    )
    if is_number:
        served_as = 1 if re.search(_POSITION, name) else None
        return FeatureGuess(name, sql, "number", "quantiles", 20, served_as=served_as)
    return FeatureGuess(name, sql, "text", "id", _buckets(column, values), values)


def _buckets(column: ColumnProfile, vocabulary: Sequence[str]) -> int:
    """About twice as many buckets as values, so that few values share one; 0 with a vocabulary."""
    if vocabulary:
        return 0
    buckets = 128
    while buckets < min(2 * column.num_distinct, 1_000_000):
        buckets *= 2
    return buckets
