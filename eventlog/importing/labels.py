"""Computes the matured rows of an import: impressions of earlier spans with the labels that are known now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from eventlog.errors import BadInput
from eventlog.importing.span_plan import GOOD, SpanRows, rows_between
from eventlog.importing.staging import ROWS, Staging
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, IMPRESSION_SPAN, LABEL_PREFIX
from eventlog.spans import span_files
from eventlog.tables.database import Database, identifier, literal
from eventlog.tables.expressions import Expressions
from eventlog.tables.mapping import LabelSettings

BATCH_ROWS = 131_072


class MaturedRows:
    """Reads impressions from the log and joins them with their delayed labels from the source.

    So a matured row has the features of its fresh row, even if the source has changed since.

    Args:
        database: the database with `ROWS`.
        staging: the columns of `ROWS`.
        expressions: checks the expressions of labels.
        log: the log's folder.
        schema: the columns to write.
    """

    def __init__(
        self, database: Database, staging: Staging, expressions: Expressions, log: Path, schema: pa.Schema
    ) -> None:
        self._database = database
        self._staging = staging
        self._expressions = expressions
        self._log = log
        self._schema = schema

    def of_span(self, span: int, plan: Mapping[int, SpanRows]) -> Iterator[pa.Table]:
        """The matured rows of a span in order of time; no row for an impression without a label.

        Args:
            span: the span to be written.
            plan: span of the source → its rows.

        Raises:
            BadInput: if the source lacks rows from which a label is computed, or a label cannot be computed.
        """
        labels = self._staging.mapping.labels
        # The oldest impressions come first.
        for age in sorted({label.age for label in labels.values() if label.age}, reverse=True):
            if span >= age:
                yield from self._of_age(span, age, plan)

    def _of_age(self, span: int, age: int, plan: Mapping[int, SpanRows]) -> Iterator[pa.Table]:
        tasks = {task: label for task, label in self._staging.mapping.labels.items() if label.age == age}
        impressions = self._rows(plan, span - age, span, tasks)
        values, joins = [], []
        for task, label in tasks.items():
            column = identifier(LABEL_PREFIX + task)
            if label.over is None:
                values.append(f"{column} AS {column}")
                continue
            window = [self._rows(plan, later, span, tasks) for later in range(span - age + 1, span)]
            join, value = self._window(task, rows_between(window[0].first, window[-1].end))
            joins.append(join)
            values.append(f"{value} AS {column}")
        labels = (
            f"SELECT {EXAMPLE_ID} AS __id, {', '.join(values)} FROM {ROWS} {' '.join(joins)}"  # noqa: S608
            f" WHERE {GOOD} AND {impressions.condition}"
        )
        yield from self._joined(span, age, labels, tasks)

    def _window(self, task: str, condition: str) -> tuple[str, str]:
        """SQL that joins the impressions with the aggregate of a window, and SQL for its value.

        A key without rows in the window has the aggregate over no rows, such as a count of 0. A null key
        has no label.
        """
        key = identifier(self._staging.keys[task])
        value = self._expressions.check(
            self._staging.mapping.labels[task].value, f"labels.{task}.value", aggregates=True
        )
        inputs = f"SELECT {self._inputs()}, {key} AS __key FROM {ROWS}"  # noqa: S608 - quoted names
        relation = f"({inputs} WHERE {GOOD} AND {condition})"
        select = f"SELECT __key, CAST({value} AS FLOAT) AS value FROM {relation}"  # noqa: S608 - checked
        empty = f"SELECT CAST({value} AS FLOAT) FROM {relation} WHERE false"  # noqa: S608 - checked
        name = identifier(f"__window_{task}")
        groups = f"({select} WHERE __key IS NOT NULL GROUP BY __key)"
        join = f"LEFT JOIN {groups} AS {name} ON {name}.__key = {key}"
        return join, (
            f"CASE WHEN {key} IS NOT NULL THEN"
            f" CASE WHEN {name}.__key IS NULL THEN ({empty}) ELSE {name}.value END END"
        )

    def _joined(
        self, span: int, age: int, labels: str, tasks: Mapping[str, LabelSettings]
    ) -> Iterator[pa.Table]:
        """The log's fresh rows of `span - age` with the labels of a query."""
        files = [str(file) for file in span_files(self._log, span - age)]
        read = f"read_parquet({literal(files)})"
        present = self._database.rows(f"DESCRIBE SELECT * FROM {read}")  # noqa: S608 - quoted names
        names = {name for name, *_ in present}
        selected = []
        for name in self._schema.names:
            task = name.removeprefix(LABEL_PREFIX)
            if name.startswith(LABEL_PREFIX):
                value = f"known.{identifier(name)}" if task in tasks else "CAST(NULL AS FLOAT)"
            else:
                # A feature that was added to the mapping later is null in rows of earlier spans.
                value = f"fresh.{identifier(name)}" if name in names else "NULL"
            selected.append(f"{value} AS {identifier(name)}")
        is_known = " OR ".join(f"known.{identifier(LABEL_PREFIX + task)} IS NOT NULL" for task in tasks)
        query = f"""
        SELECT {", ".join(selected)}
        FROM {read} AS fresh JOIN ({labels}) AS known ON fresh.{EXAMPLE_ID} = known.__id
        WHERE fresh.{IMPRESSION_SPAN} = {span - age} AND ({is_known})
        ORDER BY fresh.{EVENT_TIME_MS}, fresh.{EXAMPLE_ID}
        """  # noqa: S608 - checked expressions and quoted names
        try:
            reader: Any = self._database.compute(query).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            raise BadInput(
                "a label cannot be computed", where=f"{self._staging.where}: labels.{', '.join(tasks)}",
                expected="an expression without errors", got=" ".join(str(error).split())[:300],
                fix="Correct the expression, for example with TRY(…).",
            ) from error  # fmt: skip
        for batch in reader:
            yield pa.Table.from_batches([batch])

    def _inputs(self) -> str:
        """SQL for the columns that aggregates use, under their names in expressions."""
        flat: dict[str, str] = {}
        tables: dict[str, list[str]] = {}
        for (table, name), column in self._staging.inputs.items():
            flat.setdefault(name.lower(), f"{identifier(column)} AS {identifier(name)}")
            tables.setdefault(table, []).append(f"{identifier(name)} := {identifier(column)}")
        structs = [
            f"struct_pack({', '.join(fields)}) AS {identifier(table)}"
            for table, fields in tables.items()
            if table.lower() not in flat
        ]
        return ", ".join([*flat.values(), *structs]) or "1 AS __nothing"

    def _rows(
        self, plan: Mapping[int, SpanRows], wanted: int, span: int, tasks: Mapping[str, LabelSettings]
    ) -> SpanRows:
        if wanted in plan:
            return plan[wanted]
        raise BadInput(
            f"the source lacks the rows of span {wanted}", where=f"{self._staging.where}: labels",
            expected=f"these rows, because the label {', '.join(tasks)} of span {span} depends on them",
            got=f"spans {min(plan)} to {max(plan)}", fix="Import a source that begins earlier.",
        )  # fmt: skip
