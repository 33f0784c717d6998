"""The DuckDB database of an import: bounded memory, and no access to files that the import does not name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from eventlog.errors import BadInput

MEMORY_LIMIT = "2GB"
"""Above this limit DuckDB spills rows to the workspace."""
_FILE_ERRORS = (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException)
"""DuckDB's errors for faulty files. Errors of expressions are caught for each row, see `staging`."""


class Database:
    """A DuckDB connection for one import.

    DuckDB reads Parquet without Arrow, and ignores Arrow's extension types. So no code in a file runs, see
    `eventlog.parquet_files`.

    Args:
        workspace: folder for rows that do not fit into memory.
        source: the source's folder or file, for error messages.
    """

    def __init__(self, workspace: Path, source: Path) -> None:
        self._source = source
        self._connection = duckdb.connect(
            config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(workspace / "spill")}
        )
        # No result may depend on the time zone of the machine.
        self._connection.execute("SET TimeZone = 'UTC'")
        # This optimizer moves parts of an expression out of TRY. Their errors would then end the query.
        self._connection.execute("SET disabled_optimizers = 'common_subexpressions'")

    def confine(self, files: Iterable[Path], folder: Path) -> None:
        """Refuses access to all files but `files` and those in `folder`, for the rest of the connection.

        So an expression of a mapping cannot use other files, other databases or extensions.
        """
        paths = [str(file) for file in files]
        self._connection.execute(f"SET allowed_paths = {literal(paths)}")
        self._connection.execute(f"SET allowed_directories = {literal([str(folder)])}")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def run(self, query: str, parameters: Sequence[Any] | None = None) -> Any:
        """Executes a query and returns DuckDB's result.

        Raises:
            BadInput: if a file cannot be read.
            duckdb.Error: if the query fails for another reason.
        """
        try:
            return self._connection.execute(query, parameters)
        except _FILE_ERRORS as error:
            raise BadInput(
                "unreadable table", where=str(self._source), expected="complete files of one format",
                got=" ".join(str(error).split())[:300],
                fix="Repair the file, or correct how it is read (source).",
            ) from error  # fmt: skip

    def compute(self, query: str) -> Any:
        """Executes a query over readable files, so that its errors are those of its expressions.

        Raises:
            duckdb.Error: if an expression cannot be computed.
        """
        return self._connection.execute(query)

    def rows(self, query: str, parameters: Sequence[Any] | None = None) -> list[Any]:
        """Executes a query and returns all rows as tuples; for small results only."""
        rows: list[Any] = self.run(query, parameters).fetchall()
        return rows

    def value(self, query: str, parameters: Sequence[Any] | None = None) -> Any:
        """Executes a query and returns the value of its only row and column."""
        ((value,),) = self.rows(query, parameters)
        return value

    def types(self, expressions: Sequence[str], relation: str) -> list[str]:
        """DuckDB's types of expressions over a relation; its rows are not read.

        Raises:
            duckdb.Error: if an expression has no type, such as a comparison of text with a number.
        """
        selected = ", ".join(expressions)
        query = f"DESCRIBE SELECT {selected} FROM {relation}"  # noqa: S608 - checked expressions
        return [kind for _, kind, *_ in self._connection.execute(query).fetchall()]

    def close(self) -> None:
        """Closes the database, so that the workspace can be deleted."""
        self._connection.close()


def identifier(name: str) -> str:
    """The SQL identifier of a name, quoted because a file's header may have any characters."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | bool | Sequence[str]) -> str:
    """The SQL literal of a text, a truth value or a list of texts, for places that take no bound values."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "[" + ", ".join(map(literal, value)) + "]"
