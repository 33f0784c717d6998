"""Checks the SQL expressions of a mapping before DuckDB runs them."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from eventlog.errors import BadInput
from eventlog.tables.database import Database, identifier

SOURCE = "source"
"""Name of the source in expressions. A column that has the same name as a side table needs it in front."""
_NODES = {
    "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION",
    "LAMBDA", "OPERATOR",
}  # fmt: skip
"""Kinds of nodes of a parsed expression. Subqueries, windows, parameters and stars are not among them."""
_MACROS = re.compile(
    r"nullif|split_part|fdiv|fmod|date_add|days_in_month|round_even|roundbankers|(list|array)_\w+"
)
"""Built-in macros that depend on their arguments alone. DuckDB does not say which ones do."""
_NOT_FUNCTIONS_OF_ARGUMENTS = (
    "age", "current_localtime", "current_localtimestamp", "current_setting", "getenv", "getvariable", "today",
    "version",
)  # fmt: skip
"""Functions that DuckDB calls consistent, though they read the clock or the session."""
_CSV_HINT = "Columns of text files are text unless `columns` gives their types."


class Expressions:
    """Checks expressions over the columns of a source and its side tables.

    Args:
        database: parses the expressions.
        where: the mapping's file, for error messages.
        columns: table → the names of its columns; the source is the table `SOURCE`.
    """

    def __init__(self, database: Database, where: str, columns: Mapping[str, Sequence[str]]) -> None:
        self._database = database
        self._where = where
        self._columns = columns
        query = "SELECT function_name, function_type, stability FROM duckdb_functions()"
        self._functions: dict[str, set[str]] = {}
        for name, kind, stability in database.rows(query):
            if kind == "macro" and _MACROS.fullmatch(name):
                self._functions.setdefault(name, set()).add("scalar")
            elif stability == "CONSISTENT" and name not in _NOT_FUNCTIONS_OF_ARGUMENTS:
                self._functions.setdefault(name, set()).add(kind)

    def check(self, text: str, key: str, *, aggregates: bool = False) -> str:
        """Checks an expression and returns it as SQL in parentheses.

        Args:
            text: the expression.
            key: the mapping's key, for error messages.
            aggregates: whether functions such as `sum` are allowed.

        Raises:
            BadInput: if the text is not one expression, names an unknown column or function, has an aggregate
                that is not allowed, or may depend on more than the row, such as on files or the clock.
        """
        parsed = json.loads(self._database.value("SELECT json_serialize_sql($1)", [f"SELECT {text}"]))
        node = parsed["statements"][0]["node"] if not parsed["error"] else {}
        if parsed["error"] or not _is_one_expression(parsed["statements"]):
            got = parsed.get("error_message", repr(text))
            raise self._error(key, "not an expression", "one DuckDB expression", got, "Correct it.")
        self._check_node(node["select_list"][0], key, frozenset(), aggregates)
        # The line break ends a comment at the end of the text.
        return f"({text}\n)"

    def columns_of(self, sql: str) -> list[tuple[str, str]]:
        """Table and name of all columns that a checked expression uses, in order, each once."""
        parsed = json.loads(self._database.value("SELECT json_serialize_sql($1)", [f"SELECT {sql}"]))
        root = parsed["statements"][0]["node"]["select_list"][0]
        found: dict[tuple[str, str], None] = {}
        for node, bound in _nodes(root, frozenset()):
            if node["class"] == "COLUMN_REF" and node["column_names"][0] not in bound:
                resolved = self._resolve(node["column_names"])
                found |= {resolved: None} if resolved is not None else {}
        return list(found)

    def is_column(self, sql: str) -> bool:
        """Whether a checked expression is a column and nothing else."""
        parsed = json.loads(self._database.value("SELECT json_serialize_sql($1)", [f"SELECT {sql}"]))
        root = parsed["statements"][0]["node"]["select_list"][0]
        return bool(root["class"] == "COLUMN_REF")

    def canonical(self, text: str) -> str:
        """A form of the expression that does not depend on spaces, comments and the case of keywords."""
        parsed = json.loads(self._database.value("SELECT json_serialize_sql($1)", [f"SELECT {text}"]))
        root = parsed["statements"][0]["node"]["select_list"][0]
        return json.dumps(_without_locations(root), sort_keys=True)

    def types(self, expressions: Mapping[str, str], relation: str) -> dict[str, str]:
        """DuckDB's types of checked expressions.

        Args:
            expressions: the mapping's key → SQL.
            relation: SQL after FROM; its rows are not read.

        Returns:
            The mapping's key → type.

        Raises:
            BadInput: if DuckDB refuses an expression; the message names its key.
        """
        with contextlib.suppress(duckdb.Error):
            # One query for all expressions, because each query opens every file of the source.
            return dict(
                zip(expressions, self._database.types([*expressions.values()], relation), strict=True)
            )
        kinds = {}
        for key, sql in expressions.items():
            try:
                (kinds[key],) = self._database.types([sql], relation)
            except duckdb.Error as error:
                got = " ".join(str(error).split("\n\n")[0].split())
                fix = _CSV_HINT if "VARCHAR" in got else "Correct it."
                raise self._error(key, "wrong expression", "an expression with a type", got, fix) from error
        return kinds

    def _check_node(self, root: Any, key: str, bound: frozenset[str], aggregates: bool) -> None:
        for node, names in _nodes(root, bound):
            kind = node["class"]
            if kind not in _NODES:
                expected = "columns, constants, functions and operators"
                raise self._error(key, "expression not allowed", expected, kind.lower(), "Remove it.")
            if kind == "FUNCTION":
                self._check_function(node["function_name"], key, aggregates)
            if kind == "COLUMN_REF" and node["column_names"][0] not in names:
                self._check_column(node["column_names"], key)

    def _check_function(self, name: str, key: str, aggregates: bool) -> None:
        kinds = self._functions.get(name, set())
        if "scalar" in kinds or (aggregates and "aggregate" in kinds):
            return
        if "aggregate" in kinds:
            expected, fix = "a value of one row", "Sums and other aggregates need `over`."
            raise self._error(key, f"aggregate {name}", expected, name, fix)
        close = difflib.get_close_matches(name, self._functions, n=1)
        fix = f"Did you mean {close[0]!r}?" if close else "Use another function."
        expected = "a DuckDB function whose result depends only on its arguments"
        raise self._error(key, f"function {name} is not available", expected, name, fix)

    def _resolve(self, names: Sequence[str]) -> tuple[str, str] | None:
        """Table and column of a reference; None if there is no such column."""
        tables = {table.lower(): table for table in self._columns}
        if len(names) > 1 and names[0].lower() in tables:
            table = tables[names[0].lower()]
            lower_columns = {column.lower(): column for column in self._columns[table]}
            column = lower_columns.get(names[1].lower())
            return None if column is None else (table, column)
        for column in self._columns[SOURCE]:
            if column.lower() == names[0].lower():
                return SOURCE, column
        return None

    def _check_column(self, names: Sequence[str], key: str) -> None:
        if self._resolve(names) is not None:
            return
        known = [
            column if table == SOURCE else f"{table}.{column}"
            for table, columns in self._columns.items()
            for column in columns
        ]
        name = ".".join(names[1:] if names[0] == SOURCE else names)
        close = difflib.get_close_matches(name, known, n=1)
        fix = f"Did you mean {close[0]!r}?" if close else f"Columns: {', '.join(known)[:300]}."
        raise self._error(key, "unknown column", "a column of the source or of a side table", repr(name), fix)

    def _error(self, key: str, what: str, expected: str, got: str, fix: str) -> BadInput:
        where = f"{self._where}: {key}"
        return BadInput(what, where=where, expected=expected, got=" ".join(got.split())[:300], fix=fix)


def column_sql(table: str, column: str) -> str:
    """The SQL of a column of the source or of a side table."""
    return f"{identifier(table)}.{identifier(column)}"


def _is_one_expression(statements: list[Any]) -> bool:
    """Whether a parsed `SELECT …` has one value and no other part, such as FROM, WHERE or DISTINCT."""
    if len(statements) != 1 or statements[0]["named_param_map"]:
        return False
    node = statements[0]["node"]
    parts = ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify", "modifiers")
    return (
        node["type"] == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and not any(node[part] for part in parts)
        and not node["cte_map"]["map"]
        and len(node["select_list"]) == 1
        and not node["select_list"][0]["alias"]
    )


def _nodes(value: Any, bound: frozenset[str]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """All nodes of a parsed expression, each with the names that lambdas bind there."""
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item, bound)
    elif isinstance(value, dict):
        if value.get("class") == "LAMBDA":
            references = [node for node, _ in _nodes(value["lhs"], bound) if node["class"] == "COLUMN_REF"]
            names = bound | {reference["column_names"][0] for reference in references}
            yield value, bound
            yield from _nodes(value["expr"], names)
            return
        if "class" in value:
            yield value, bound
        for item in value.values():
            yield from _nodes(item, bound)


def _without_locations(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_locations(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_locations(item) for key, item in value.items() if key != "query_location"}
    return value
