"""The settings of `rankdistill events import`: what the columns of a table mean in an event log.

Every expression is a DuckDB expression over the columns of the source and of the side tables.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from eventlog.rows import FIXED_COLUMNS, LABEL_PREFIX, SOFT_PREFIX

ColumnType = Literal["text", "integer", "number", "boolean"]
FeatureType = Literal["text", "integer", "number", "texts", "integers", "numbers"]
INTERNAL_PREFIX = "__"
"""Prefix of the columns that the import adds to its own tables."""
_STRICT = {"extra": "forbid", "strict": True}
"""How pydantic reads these dataclasses: unknown keys are refused, and no value is converted."""


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """How the files of a table are read.

    Attributes:
        files: name or pattern of the files, such as `orders_*.csv.gz`, relative to the folder of `--source`.
            Files of side tables are left out.
        format: `csv`, `parquet`, or `atomic` (RecBole's `.inter`); default: by the suffix of the file.
        delimiter: text between two values, at most four characters. Default: tab in `.tsv`, `.tab` and atomic
            files, else `,`.
        header: whether the first line has the names of the columns; false needs `columns`.
        columns: name → type (text, integer, number, boolean). With a header: the columns that are not text.
            Without a header: all columns, in their order. Not for Parquet, whose columns have types.
        encoding: encoding of text files.
        quote: character around values that contain the delimiter; empty for none.
        null_values: texts that mean a missing value. An empty value is always missing.
        decimal: decimal separator of numbers.
        thousands: separator of thousands in numbers; empty for none.
    """

    __pydantic_config__ = _STRICT

    files: str = "*"
    format: Literal["csv", "parquet", "atomic"] | None = None
    delimiter: str | None = None
    header: bool = True
    columns: dict[str, ColumnType] = field(default_factory=dict)
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    quote: str = '"'
    null_values: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    thousands: str = ""

    def __post_init__(self) -> None:
        if self.delimiter is not None and not 1 <= len(self.delimiter) <= 4:
            raise ValueError(f"delimiter must have 1 to 4 characters, got {self.delimiter!r}")
        for key, text in (("quote", self.quote), ("thousands", self.thousands)):
            if len(text) > 1:
                raise ValueError(f"{key} must be one character or empty, got {text!r}")
        if not self.header and not self.columns:
            raise ValueError("header: false needs columns, the names and types of all columns in order")
        _require_plain_names("columns", self.columns)


@dataclass(frozen=True, kw_only=True)
class SideTable(FileSettings):
    """A table that is joined with the source: at most one of its rows fits a row of the source.

    Attributes:
        key: column with the key. Rows without a key are dropped, equal rows are merged, and two different
            rows with one key are refused.
        source_key: expression over the source's columns that equals the key. Default: the column with
            the key's name.
    """

    key: str
    source_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class TimeSettings:
    """How the time of an impression is read.

    Attributes:
        value: expression: a number, a time or a text.
        unit: unit of a number that counts from 1970 in UTC; left out for times and texts.
        zone: zone of times and texts without an offset of their own, such as `Europe/Berlin`, or an
            expression that gives the zone of each row. A row whose time the zone skips in spring is
            dropped. A time that occurs twice in autumn is read as the second of the two.
        format: format of a text, such as `%d.%m.%Y %H:%M`; default: ISO 8601.
    """

    __pydantic_config__ = _STRICT

    value: str
    unit: Literal["s", "ms", "us", "ns"] | None = None
    zone: str | None = None
    format: str | None = None

    def __post_init__(self) -> None:
        if self.unit is not None and (self.zone is not None or self.format is not None):
            raise ValueError("unit is for numbers, zone and format are for times and texts; remove one")


class Period(str, enum.Enum):
    """A period of time that becomes a span. Its value is its name."""

    @staticmethod
    def _generate_next_value_(name: str, *_: object) -> str:
        return name

    hour = enum.auto()
    day = enum.auto()
    week = enum.auto()


@dataclass(frozen=True, kw_only=True)
class SpanSettings:
    """How rows are assigned to spans. Either `by` or `count` is needed.

    Attributes:
        by: the period of a span: hour, day or week. A week begins on Monday. An hour is an hour of UTC.
        zone: zone in which days and weeks begin. It has no effect with `value`.
        value: expression for a date or a time without zone. It decides the period, instead of the time of the
            impression.
        count: number of rows of a span, in order of time. The last rows wait until they fill a span.
        newest: `filling` leaves out the newest period, because its rows are not complete yet.
    """

    __pydantic_config__ = _STRICT

    by: Period | None = None
    zone: str = "UTC"
    value: str | None = None
    count: int | None = None
    newest: Literal["complete", "filling"] = "complete"

    def __post_init__(self) -> None:
        if (self.by is None) == (self.count is None):
            raise ValueError("spans needs either by or count")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.count is not None and (self.value is not None or self.newest != "complete"):
            raise ValueError("value and newest are for spans by a period, remove them")


@dataclass(frozen=True, kw_only=True)
class Window:
    """Rows that come after an impression.

    Attributes:
        spans: number of the window's spans, which follow the span of the impression.
        per: expression, such as the user. The window has the rows whose value equals that of the impression.
    """

    __pydantic_config__ = _STRICT

    spans: int
    per: str

    def __post_init__(self) -> None:
        _require_spans("spans", self.spans, 1)


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """One label.

    Attributes:
        value: expression for a number or a truth value; null for an unknown label. With `over`, it has an
            aggregate, such as `sum(amount)`.
        delay: number of spans from the impression's span to the span whose matured rows have the label. With
            0, the fresh rows have it.
        over: the window of later rows from which the label is computed. Its delay is then `over.spans` + 1.
    """

    __pydantic_config__ = _STRICT

    value: str
    delay: int = 0
    over: Window | None = None

    def __post_init__(self) -> None:
        _require_spans("delay", self.delay, 0)
        if self.over is not None and self.delay:
            raise ValueError("a label with over has the delay over.spans + 1, remove delay")

    @property
    def age(self) -> int:
        """Number of spans from the impression's span to the span that has the label; 0: the same span."""
        return self.delay if self.over is None else self.over.spans + 1


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """One feature.

    Attributes:
        value: expression for the feature's value.
        type: type of the column in the log; a plural such as `texts` is a list.
    """

    __pydantic_config__ = _STRICT

    value: str
    type: FeatureType


@dataclass(frozen=True, kw_only=True)
class NullSettings:
    """Rows with missing values.

    Attributes:
        drop: features, and labels without a delay, that every row must have; a row that lacks one is
            dropped. Rows without a time, surface, cluster or id are always dropped.
    """

    __pydantic_config__ = _STRICT

    drop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableMapping:
    """What the columns of a table mean in an event log.

    Attributes:
        time: the time of an impression.
        spans: the spans of the log.
        surface: expression for the place where the ranking was shown; `"'feed'"` for one surface.
        cluster: expression for the user, or another group of rows that are correlated.
        labels: task → its label.
        features: column of the log → its feature.
        source: files of the source. If `--source` is a file, `source.files` has no effect.
        tables: side tables by the name that expressions use, such as `items` in `items.title`.
        example_id: columns of the source that identify an impression within its span; `-` joins their texts.
            Default: a hash of all columns of the source.
        where: expression for a truth value. Rows where it is false or null are left out, and do not count as
            dropped.
        nulls: rows with missing values.
        duplicates: what happens to rows of one span with the same id. `drop` keeps the first of them,
            `refuse` ends the import. `number` keeps one of several equal rows, and adds `-2`, `-3` to the ids
            of the others.
        max_dropped: largest share of dropped rows of a span or a side table, and of rows without a readable
            time in the source. Above it, the import ends with exit code 2 and does not write the span.
    """

    __pydantic_config__ = _STRICT

    time: TimeSettings
    spans: SpanSettings
    surface: str
    cluster: str
    labels: dict[str, LabelSettings]
    features: dict[str, FeatureSettings]
    source: FileSettings = field(default_factory=FileSettings)
    tables: dict[str, SideTable] = field(default_factory=dict)
    example_id: tuple[str, ...] | None = None
    where: str | None = None
    nulls: NullSettings = field(default_factory=NullSettings)
    duplicates: Literal["drop", "number", "refuse"] = "drop"
    max_dropped: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.max_dropped <= 1:
            raise ValueError(f"max_dropped must be between 0 and 1, got {self.max_dropped}")
        if self.example_id is not None and not self.example_id:
            raise ValueError("example_id must name a column; leave it out for a hash of all columns")
        for key, names in (("labels", self.labels), ("features", self.features), ("tables", self.tables)):
            _require_plain_names(key, names)
        if any(name.lower() == "source" for name in self.tables):
            raise ValueError("source is no name of a side table: expressions use it for the source")
        for name in self.features:
            if name.lower() in FIXED_COLUMNS.names or name.startswith((LABEL_PREFIX, SOFT_PREFIX)):
                raise ValueError(f"{name} is no name of a feature, because event logs reserve it")
        required = [*self.features, *(task for task, label in self.labels.items() if not label.age)]
        for name in self.nulls.drop:
            if name not in required:
                raise ValueError(f"nulls.drop names {name!r}, expected one of {', '.join(required)}")


def _require_plain_names(key: str, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not name or not name.isprintable() or name.startswith(INTERNAL_PREFIX):
            raise ValueError(
                f"{key}: {name!r} is no name: it is empty, begins with {INTERNAL_PREFIX}, or has characters "
                "that cannot be printed"
            )
        # DuckDB ignores the case of letters in names.
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ValueError(f"{key}: {other!r} and {name!r} differ only in the case of letters; rename one")


def _require_spans(key: str, spans: int, minimum: int) -> None:
    if not minimum <= spans <= 1000:
        raise ValueError(f"{key} must be between {minimum} and 1000, got {spans}")
