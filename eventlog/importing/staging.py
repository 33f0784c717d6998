"""Computes the columns of the log for every row of a source, and marks the rows to drop.

The result is the table `ROWS` of the database. A row that cannot be imported stays in it with a `__reason`,
so that the report can count it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

from eventlog.errors import BadInput
from eventlog.rows import (
    CLUSTER_ID,
    END_EVENT_MS,
    EVENT_TIME_MS,
    EXAMPLE_ID,
    FIRST_EVENT_MS,
    LABEL_PREFIX,
    SURFACE,
)
from eventlog.tables.database import Database, identifier, literal
from eventlog.tables.dirt import NUM_SAMPLES, Dirt
from eventlog.tables.event_time import (
    BUCKET_MS,
    local_bucket_sql,
    milliseconds_sql,
    parsed_sql,
    zone_sql,
)
from eventlog.tables.expressions import SOURCE, Expressions, column_sql
from eventlog.tables.mapping import TableMapping
from eventlog.tables.relations import FILE, Relation

ROWS = "__rows"
BUCKET = "__bucket"
"""Column with the bucket of a row's time, see `BUCKET_MS`; null without a valid time."""
REASON = "__reason"
"""Column with the number of the reason to drop a row; null for a good row."""
CONTENT = "__content"
"""Column with a hash of all source columns of a row."""
KEY = "__key"
"""Name of a side table's key in the query."""
TYPES = {
    "text": "VARCHAR", "integer": "BIGINT", "number": "FLOAT", "texts": "VARCHAR[]",
    "integers": "BIGINT[]", "numbers": "FLOAT[]",
}  # fmt: skip
"""Type of a feature → DuckDB's type."""
_LABEL_TYPE = "FLOAT"
_MAX_SAMPLE_LENGTH = 200


@dataclass(frozen=True)
class _Column:
    """A column of `ROWS`.

    Attributes:
        name: its name in `ROWS`.
        key: the mapping's key, for messages.
        sql: SQL of its value.
        type: its DuckDB type.
        is_plain: whether the SQL is a column of this type, so that it cannot fail.
    """

    name: str
    key: str
    sql: str
    type: str
    is_plain: bool = False

    @property
    def computed(self) -> str:
        """Name of the intermediate column: the plain value, or a struct of it that is null after an error."""
        return identifier(f"__{self.name}")


@dataclass
class Staging:
    """The query that computes `ROWS`.

    Attributes:
        mapping: the mapping.
        where: the mapping's file, for error messages.
        source: the source as DuckDB reads it.
        reasons: texts of the reasons; a number in `__reason` is the index of its text.
        inputs: table and name of a column → column of `ROWS` with its values, for labels with a window.
        keys: task with a window → column of `ROWS` with the value of `over.per`.
    """

    mapping: TableMapping
    where: str
    source: Relation
    reasons: list[str] = field(default_factory=list)
    inputs: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def stage(self, database: Database, expressions: Expressions) -> None:
        """Computes the table `ROWS`.

        Raises:
            BadInput: if an expression is wrong, or a file cannot be read.
        """
        relation = self._relation(database, expressions)
        columns = self._columns(database, expressions, relation)
        used = dict.fromkeys(name for column in columns for name in expressions.columns_of(column.sql))
        inner = [
            f"{column.sql if column.is_plain else f'TRY({{v: {column.sql}}})'} AS {column.computed}"
            for column in columns
        ]
        inner += [f"{column_sql(*name)} AS {identifier(column)}" for name, column in self.inputs.items()]
        inner += [_sample_sql(list(used)), f"{SOURCE}.{FILE} AS {FILE}"]
        inner.append(
            f"{_finite_sql(expressions, relation, [column_sql(*name) for name in used])} AS __finite"
        )
        extra = [BUCKET, *map(identifier, self.inputs.values())]
        if self.mapping.duplicates == "number":
            # Rows are equal if all columns of the source are equal, also those that the mapping does not use.
            names = ", ".join(column_sql(SOURCE, name) for name in self.source.columns)
            inner.append(f"md5(CAST(row({names}) AS VARCHAR)) AS {CONTENT}")
            extra.append(CONTENT)
        values = [
            f"{column.computed}{'' if column.is_plain else '.v'} AS {identifier(column.name)}"
            for column in columns
        ]
        kept = [identifier(column.name) for column in columns if column.name != "__where"]
        query = f"""
        CREATE TEMP TABLE {ROWS} AS
        SELECT {", ".join([*kept, *extra])}, {REASON},
          CASE WHEN {REASON} IS NOT NULL THEN
            parse_filename({FILE}) || ': ' || CAST(__sample AS VARCHAR)[:{_MAX_SAMPLE_LENGTH}] END AS __sample
        FROM (
          SELECT *, {self._bucket()} AS {BUCKET}, {self._reason(columns)} AS {REASON} FROM (
            SELECT *, {", ".join(values)} FROM (SELECT {", ".join(inner)} FROM {relation})
          ){self._filter()}
        )
        """  # noqa: S608 - checked expressions and quoted names
        try:
            database.run(query)
        except duckdb.Error as error:
            # TRY limits most errors to their row, but not those of a function that DuckDB does not implement.
            raise BadInput(
                "an expression cannot be computed", where=self.where, expected="expressions without errors",
                got=" ".join(str(error).split())[:300], fix="Correct the expression.",
            ) from error  # fmt: skip

    def add_reason(self, text: str) -> int:
        """Adds a reason to drop a row; returns its number in `__reason`."""
        self.reasons.append(text)
        return len(self.reasons) - 1

    def dirt(self, database: Database, conditions: Sequence[str]) -> list[Dirt]:
        """The rows to drop, by reason: those without a time, and those that fulfil one of the conditions."""
        rows = " OR ".join([f"{BUCKET} IS NULL", *(f"({condition})" for condition in conditions)])
        found = database.rows(
            f"SELECT {REASON}, count(*), min_by(__sample, rowid, {NUM_SAMPLES}) FROM {ROWS}"  # noqa: S608
            f" WHERE {REASON} IS NOT NULL AND ({rows}) GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        return [Dirt(self.reasons[reason], num_rows, tuple(samples)) for reason, num_rows, samples in found]

    def _relation(self, database: Database, expressions: Expressions) -> str:
        """The source with its side tables, as SQL after FROM."""
        sql = f"{self.source.sql} AS {SOURCE}"
        for name, table in self.mapping.tables.items():
            key = f"tables.{name}.source_key"
            source_key = expressions.check(table.source_key or f"{SOURCE}.{identifier(table.key)}", key)
            foreign = [table for table, _ in expressions.columns_of(source_key) if table != SOURCE]
            if foreign:
                raise BadInput(
                    "a key of another table", where=f"{self.where}: {key}", got=f"a column of {foreign[0]}",
                    expected="an expression over the source's columns", fix="Correct `source_key`.",
                )  # fmt: skip
            # The row of a side table is one column, so that a name without a table is always of the source.
            alias, columns = identifier(f"__{name}"), f"{identifier(table.key)} AS {KEY}, {identifier(name)}"
            rows = f"(SELECT {columns} FROM {identifier(name)}) AS {alias}"  # noqa: S608 - quoted names
            kinds = expressions.types({key: source_key, "key": f"{alias}.{KEY}"}, f"{sql}, {rows}")
            # DuckDB would read each text as a number, and stop at the first that is none.
            if (kinds[key] == "VARCHAR") != (kinds["key"] == "VARCHAR"):
                raise BadInput(
                    "wrong type of a key", where=f"{self.where}: {key}", expected=kinds["key"],
                    got=kinds[key], fix="Give both columns the same type in `columns`, or cast.",
                )  # fmt: skip
            expressions.types({key: f"{alias}.{KEY} = {source_key}"}, f"{sql}, {rows}")
            sql += f" LEFT JOIN {rows} ON {alias}.{KEY} = TRY({source_key})"
        return sql

    def _columns(self, database: Database, expressions: Expressions, relation: str) -> list[_Column]:
        mapping = self.mapping
        texts = {
            EXAMPLE_ID: ("example_id", self._id_sql(expressions)),
            SURFACE: ("surface", expressions.check(mapping.surface, "surface")),
            CLUSTER_ID: ("cluster", expressions.check(mapping.cluster, "cluster")),
        }
        columns = [
            _Column(EVENT_TIME_MS, "time.value", self._time(database, expressions, relation), "BIGINT")
        ]
        columns += [_Column(name, key, sql, "VARCHAR") for name, (key, sql) in texts.items()]
        if mapping.spans.value is not None:
            key = "spans.value"
            sql = expressions.check(mapping.spans.value, key)
            kind = expressions.types({key: sql}, relation)[key]
            columns.append(_Column("__date", key, local_bucket_sql(sql, kind, self.where), "BIGINT"))
        if mapping.where is not None:
            columns.append(_Column("__where", "where", expressions.check(mapping.where, "where"), "BOOLEAN"))
        for task, label in mapping.labels.items():
            key = f"labels.{task}.value"
            if label.over is None:
                columns.append(
                    _Column(LABEL_PREFIX + task, key, expressions.check(label.value, key), _LABEL_TYPE)
                )
                continue
            value = expressions.check(label.value, key, aggregates=True)
            # The count makes DuckDB refuse a column outside an aggregate.
            expressions.types({key: f"struct_pack(v := CAST({value} AS FLOAT), n := count(*))"}, relation)
            for used in expressions.columns_of(value):
                self.inputs.setdefault(used, f"__input_{len(self.inputs)}")
            self.keys[task] = f"__per_{task}"
            key = f"labels.{task}.over.per"
            columns.append(_Column(self.keys[task], key, expressions.check(label.over.per, key), "VARCHAR"))
        for name, feature in mapping.features.items():
            key = f"features.{name}.value"
            columns.append(_Column(name, key, expressions.check(feature.value, key), TYPES[feature.type]))
        return self._typed(expressions, relation, columns)

    def _typed(self, expressions: Expressions, relation: str, columns: list[_Column]) -> list[_Column]:
        """The columns with casts to their types. A number with decimals does not fit an integer."""
        kinds = expressions.types({column.key: column.sql for column in columns}, relation)
        typed = []
        for column in columns:
            kind, sql = kinds[column.key], column.sql
            is_list, wants_list = kind.endswith("]"), column.type.endswith("]")
            if (is_list != wants_list and kind != '"NULL"') or kind.startswith(
                ("STRUCT", "MAP", "BLOB", "UNION")
            ):
                raise BadInput(
                    "wrong type", where=f"{self.where}: {column.key}", got=kind,
                    expected="a list, as of string_split(text, '|')" if wants_list else "one value",
                    fix="Correct the expression, or the type.",
                )  # fmt: skip
            if column.type == "BIGINT" and kind.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
                # The cast of this text always fails, so a number with decimals is an error of its row.
                failing = f"WHEN {sql} IS NOT NULL THEN CAST(concat({sql}, '?') AS BIGINT)"
                sql = f"CASE WHEN {sql} = trunc({sql}) THEN CAST({sql} AS BIGINT) {failing} END"
            elif kind != column.type:
                sql = f"CAST({sql} AS {column.type})"
            # The time and `where` are never plain, because only a struct tells a null from an error.
            is_plain = (
                kind == column.type
                and expressions.is_column(sql)
                and column.key not in ("where", "time.value")
            )
            typed.append(_Column(column.name, column.key, sql, column.type, is_plain))
        expressions.types({column.key: column.sql for column in typed}, relation)
        return typed

    def _time(self, database: Database, expressions: Expressions, relation: str) -> str:
        settings, key = self.mapping.time, "time.value"
        where = f"{self.where}: {key}"
        zone = None if settings.zone is None else self._zone(database, expressions, settings.zone)
        sql = expressions.check(settings.value, key)
        sql = parsed_sql(settings, sql, expressions.types({key: sql}, relation)[key], where)
        return milliseconds_sql(settings, sql, expressions.types({key: sql}, relation)[key], zone, where)

    def _zone(self, database: Database, expressions: Expressions, zone: str) -> str:
        """SQL for the name of a zone: the name itself, or an expression that gives it."""
        is_name = "/" in zone and not any(char in zone for char in "( '\"")
        if is_name or database.value("SELECT count(*) FROM pg_timezone_names() WHERE name = $1", [zone]):
            return zone_sql(database, zone, f"{self.where}: time.zone")
        # DuckDB ends the query at an unknown zone, even within TRY.
        names = literal(database.value("SELECT list(name) FROM pg_timezone_names()"))
        sql = expressions.check(zone, "time.zone")
        return f"CASE WHEN list_contains({names}, {sql}) THEN {sql} END"

    def _id_sql(self, expressions: Expressions) -> str:
        """SQL for the example id: columns joined by `-`, or a hash of all columns of the source."""
        if self.mapping.example_id is not None:
            for name in self.mapping.example_id:
                expressions.check(f"{SOURCE}.{identifier(name)}", "example_id")
            parts = [f"CAST({SOURCE}.{identifier(name)} AS VARCHAR)" for name in self.mapping.example_id]
            return f"({' || {} || '.format(literal('-')).join(parts)})"
        # So a null differs from an empty text, and the columns `a`, `bc` differ from `ab`, `c`.
        parts = [
            f"coalesce(CAST({SOURCE}.{identifier(name)} AS VARCHAR), chr(0))" for name in self.source.columns
        ]
        return f"md5(concat_ws(chr(31), {', '.join(parts)}))"

    def _filter(self) -> str:
        # A row whose `where` cannot be computed is kept, so that the report counts it.
        return " WHERE __where OR ____where IS NULL" if self.mapping.where is not None else ""

    def _bucket(self) -> str:
        """SQL for the bucket of a row; null without a time that an event log can hold."""
        date = "__date" if self.mapping.spans.value is not None else f"{EVENT_TIME_MS} // {BUCKET_MS}"
        is_time = f"{EVENT_TIME_MS} >= {FIRST_EVENT_MS} AND {EVENT_TIME_MS} < {END_EVENT_MS}"
        is_date = f"{date} >= {FIRST_EVENT_MS // BUCKET_MS} AND {date} < {END_EVENT_MS // BUCKET_MS}"
        return f"CASE WHEN {is_time} AND {is_date} THEN {date} END"

    def _reason(self, columns: list[_Column]) -> str:
        """SQL for the number of the first reason to drop a row, null for a good row."""
        cases: list[tuple[str, str]] = []
        for column in columns:
            name = identifier(column.name)
            if column.name == EVENT_TIME_MS:
                cases.append((f"{name} IS NULL", f"{column.key}: null, or not a time in its zone"))
                cases.append(
                    (
                        f"{name} < {FIRST_EVENT_MS} OR {name} >= {END_EVENT_MS}",
                        f"{column.key}: not in 1990 to 2099",
                    )
                )
                continue
            if not column.is_plain:
                failed = f"{column.computed} IS NULL"
                cases.append((failed, f"{column.key}: cannot be computed, or does not fit its type"))
            if column.name in (EXAMPLE_ID, SURFACE, CLUSTER_ID):
                cases.append((f"{name} IS NULL", f"{column.key}: null"))
                cases.append((f"{name} = ''", f"{column.key}: empty text"))
            if column.name == "__date":
                is_date = f"{name} >= {FIRST_EVENT_MS // BUCKET_MS} AND {name} < {END_EVENT_MS // BUCKET_MS}"
                cases.append(
                    (f"NOT coalesce({is_date}, false)", f"{column.key}: null, or not in 1990 to 2099")
                )
            if column.name in self._required():
                cases.append((f"{name} IS NULL", f"{column.key}: null"))
            if column.type == "FLOAT":
                cases.append((f"NOT isfinite({name})", f"{column.key}: NaN or infinity"))
            if column.type.endswith("]"):
                cases.append((f"list_count({name}) < len({name})", f"{column.key}: null inside a list"))
            if column.type == "FLOAT[]":
                bad = f"len(list_filter({name}, lambda item: NOT isfinite(item))) > 0"
                cases.append((bad, f"{column.key}: NaN or infinity inside a list"))
        # A comparison with NaN is true, so a label could look correct.
        cases.append(("NOT __finite", "a number of the table: NaN or infinity"))
        self.reasons = [reason for _, reason in cases]
        whens = " ".join(f"WHEN {condition} THEN {number}" for number, (condition, _) in enumerate(cases))
        return f"CAST(CASE {whens} END AS SMALLINT)"

    def _required(self) -> set[str]:
        labels = self.mapping.labels
        return {LABEL_PREFIX + name if name in labels else name for name in self.mapping.nulls.drop}


def _sample_sql(used: list[tuple[str, str]]) -> str:
    """SQL for the values of a row that the report shows."""
    fields = ", ".join(
        f"{identifier(name if table == SOURCE else f'{table}.{name}')} := {column_sql(table, name)}"
        for table, name in used
    )
    return f"struct_pack({fields}) AS __sample" if used else "NULL AS __sample"


def _finite_sql(expressions: Expressions, relation: str, used: list[str]) -> str:
    """SQL that is false if one of the numbers that a row uses is NaN or infinite."""
    kinds = expressions.types({sql: sql for sql in used}, relation)
    numbers = [f"coalesce(isfinite({sql}), true)" for sql in used if kinds[sql] in ("DOUBLE", "FLOAT")]
    return " AND ".join(numbers) or "true"
