"""Reads the files of a table in DuckDB with typed columns, and reports the lines that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eventlog.errors import BadInput
from eventlog.tables.database import Database, identifier, literal
from eventlog.tables.dirt import NUM_SAMPLES, Dirt, DirtReport
from eventlog.tables.mapping import FileSettings
from eventlog.tables.table_files import TableFiles

_TYPES = {
    "text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "texts": "VARCHAR",
    "numbers": "VARCHAR",
}  # fmt: skip
_LISTS = {"texts": "VARCHAR[]", "numbers": "DOUBLE[]"}
FILE = "__file"
"""Column with the path of a row's file."""


@dataclass(frozen=True)
class Relation:
    """A table as DuckDB reads it.

    Attributes:
        sql: SQL that follows FROM in a query.
        columns: names of the columns, without `FILE`.
    """

    sql: str
    columns: tuple[str, ...]


def relation_of(database: Database, settings: FileSettings, groups: Sequence[TableFiles]) -> Relation:
    """The SQL that reads a table; a column that some files lack is null in their rows.

    Raises:
        BadInput: if a Parquet file cannot be read.
    """
    if groups[0].format == "parquet":
        files = [str(file) for group in groups for file in group.files]
        sql = (
            f"read_parquet({literal(files)}, union_by_name = true, filename = '{FILE}',"
            " hive_types_autocast = false)"
        )
        names = database.run(f"DESCRIBE SELECT * FROM {sql}").fetchall()  # noqa: S608 - quoted names
        return Relation(sql, tuple(name for name, *_ in names if name != FILE))
    columns = tuple(dict.fromkeys(name for group in groups for name in group.columns))
    parts = " UNION ALL BY NAME ".join(f"SELECT * FROM {_csv(settings, group)}" for group in groups)  # noqa: S608
    return Relation(f"({parts})" if len(groups) > 1 else _csv(settings, groups[0]), columns)


def _csv(settings: FileSettings, group: TableFiles) -> str:
    types = ", ".join(f"{literal(name)}: '{_TYPES[kind]}'" for name, kind in group.columns.items())
    options = {
        "auto_detect": "false",
        "header": literal(settings.header),
        "delim": literal(group.delimiter),
        "quote": literal(settings.quote),
        "escape": literal(settings.quote),
        "encoding": literal(settings.encoding),
        "nullstr": literal(["", *settings.null_values]),
        "decimal_separator": literal(settings.decimal),
        "columns": f"{{{types}}}",
        "filename": literal(FILE),
        # A line that does not fit the columns becomes a row of `reject_errors`. The limit 0 means no limit.
        "store_rejects": "true",
        "rejects_limit": "0",
    }
    if settings.thousands:
        options["thousands"] = literal(settings.thousands)
    listed = ", ".join(f"{name} = {value}" for name, value in options.items())
    files = literal([str(file) for file in group.files])
    sql = f"read_csv({files}, {listed})"
    lists = [name for name, kind in group.columns.items() if kind in _LISTS]
    if not lists:
        return sql
    replaced = ", ".join(
        f"{_split(name, _LISTS[group.columns[name]])} AS {identifier(name)}" for name in lists
    )
    return f"(SELECT * REPLACE ({replaced}) FROM {sql})"  # noqa: S608 - quoted names


def _split(name: str, kind: str) -> str:
    """SQL for the values of a text with spaces between them; items that do not fit the type are null."""
    return f"TRY_CAST(string_split(trim({identifier(name)}), ' ') AS {kind})"


def rejected_lines(database: Database, files: Iterable[Path]) -> list[Dirt]:
    """The lines that DuckDB has rejected so far in text files, by reason.

    A line counts once, with its first fault.
    """
    if not database.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"):
        return []
    lines = """
      SELECT file_path, line, min_by(error_type, column_idx) AS kind, min_by(column_name, column_idx) AS name,
        min_by(csv_line, column_idx) AS text
      FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path, line
    """
    counts = database.rows(
        f"SELECT kind, CASE WHEN kind = 'CAST' THEN name END AS name, count(*),"  # noqa: S608 - only constants
        f" min_by([file_path, CAST(line AS VARCHAR), text[:200]], (file_path, line), {NUM_SAMPLES})"
        f" FROM ({lines}) WHERE file_path IN (SELECT unnest($1)) GROUP BY ALL ORDER BY 3 DESC, 1, 2",
        [[str(file) for file in files]],
    )
    return [
        Dirt(
            f"column {name} does not fit its type" if name else str(kind).lower().replace("_", " "),
            number,
            tuple(f"{Path(path).name}, line {line}: {text.strip()}" for path, line, text in samples),
        )
        for kind, name, number, samples in counts
    ]


def load_side_table(database: Database, name: str, key: str, relation: Relation, where: str) -> DirtReport:
    """Loads a side table as the table `name`, with one row for each key.

    Args:
        database: the database.
        name: name of the table.
        key: the column with the key.
        relation: the table's files.
        where: the mapping's key, for error messages.

    Returns:
        The number of different rows, and those without a key. Lines that cannot be read are not among them.

    Raises:
        BadInput: if the key is no column, two different rows have the same key, or a file cannot be read.
    """
    if key not in relation.columns:
        raise BadInput(
            "unknown key", where=where, expected=f"one of the columns {', '.join(relation.columns)}"[:300],
            got=repr(key), fix="Correct `key`.",
        )  # fmt: skip
    table, column = identifier(name), identifier(key)
    database.run(
        f"CREATE TEMP TABLE {table} AS SELECT DISTINCT * EXCLUDE ({FILE}) FROM {relation.sql}"  # noqa: S608
    )
    repeated = database.rows(
        f"SELECT CAST({column} AS VARCHAR), count(*) FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608
        f" GROUP BY {column} HAVING count(*) > 1 ORDER BY 1"
    )
    if repeated:
        raise BadInput(
            "a key with several rows", where=where, expected="one row for each key",
            got=f"{len(repeated)} keys with several rows, such as {repeated[0][0]!r}",
            fix="Keep one row for each key in the side table.",
        )  # fmt: skip
    missing = database.value(f"SELECT count(*) FROM {table} WHERE {column} IS NULL")  # noqa: S608
    database.run(f"DELETE FROM {table} WHERE {column} IS NULL")  # noqa: S608
    num_rows = database.value(f"SELECT count(*) FROM {table}")  # noqa: S608
    return DirtReport(num_rows + missing, [Dirt(f"null in the key {key}", missing, ())] if missing else [])
