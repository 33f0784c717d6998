"""Profiles a sample of a table and of its side tables: type, values and range of every column."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eventlog.errors import BadInput
from eventlog.tables.database import Database, identifier, literal
from eventlog.tables.expressions import SOURCE
from eventlog.tables.mapping import FileSettings
from eventlog.tables.relations import relation_of
from eventlog.tables.table_files import find_files, group_files, require_source, suffix_of
from pipeline.new_deployment.names import plain_name, unique_name
from pipeline.new_deployment.text_layout import TextLayout, guess_layout

Kind = Literal["boolean", "integer", "number", "text", "texts", "numbers", "time"]

MAX_SAMPLE_ROWS = 100_000
MAX_LISTED_VALUES = 64
"""A profile lists the values of a column with at most this number of distinct values."""
_PARQUET_SUFFIXES = (".parquet", ".pq")
_TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".inter", ".item", ".user", ".data", ".dat")
_NUMBERS = r"\d[\d._-]*$"
_KINDS: Mapping[str, Kind] = {
    r"VARCHAR\[\]": "texts", r".*\[\]": "numbers", "BOOLEAN": "boolean", "U?[A-Z]*INT(EGER)?": "integer",
    "(FLOAT|DOUBLE|DECIMAL).*": "number", "(TIMESTAMP|DATE).*": "time",
}  # fmt: skip
"""Pattern of DuckDB's type → kind; the first that fits counts."""
MIN_SHARE = 0.99
"""Share of the values that must fit a kind. The import drops and counts the rows with other values."""


@dataclass(frozen=True)
class ColumnProfile:
    """One column of a sample.

    Attributes:
        table: `source`, or the name of a side table.
        name: the column.
        kind: kind of the values; for texts, the kind that nearly all of them can be read as.
        num_rows: rows with a value.
        num_distinct: number of distinct values, or of distinct items of lists and separated texts.
        null_share: share of rows without a value.
        zero_share: share of the values that are 0.
        low: smallest number; None for other kinds.
        high: largest number; None for other kinds.
        values: these values as text, most frequent first; empty if there are more than MAX_LISTED_VALUES.
        mean_length: mean number of characters.
        stored_as: DuckDB's type.
        sql: the column in an expression, cast to its kind.
        separator: text between several values of one text, such as `|`; empty if there is one value.
    """

    table: str
    name: str
    kind: Kind
    num_rows: int
    num_distinct: int
    null_share: float
    zero_share: float
    low: float | None
    high: float | None
    values: tuple[str, ...]
    mean_length: float
    stored_as: str
    sql: str
    separator: str = ""


@dataclass(frozen=True)
class TableProfile:
    """The files of one table and the profile of its columns.

    Attributes:
        name: `source`, or the name of the side table.
        files: name or pattern of the files, for the mapping.
        layout: how text files are written; None for Parquet.
        columns: the columns, in the order of the files.
        num_rows: number of rows of the whole table; the profiles are those of a sample.
        key: the column that a side table shares with the source; empty for the source.
    """

    name: str
    files: str
    layout: TextLayout | None
    columns: tuple[ColumnProfile, ...]
    num_rows: int
    key: str = ""


@dataclass
class Profiles:
    """A source with its side tables.

    Attributes:
        database: the database with their samples.
        source: the table with the impressions.
        side_tables: tables with one row for each value of a column of the source.
        left_out: files that are neither source nor side table, with the reason.
    """

    database: Database
    source: TableProfile
    side_tables: list[TableProfile]
    left_out: list[str] = field(default_factory=list)


def profile_tables(source: Path, workspace: Path) -> Profiles:
    """Samples a file, or the tables of a folder: the table with most rows is the source.

    Raises:
        BadInput: if there is no table, or a file cannot be read or has no rows.
    """
    database = Database(workspace, source)
    tables = [_profile(database, *group) for group in _grouped_files(source)]
    tables.sort(key=lambda table: -table.num_rows)
    main = dataclasses.replace(tables[0], name=SOURCE)
    database.run(f"ALTER TABLE {identifier(tables[0].name)} RENAME TO {identifier(SOURCE)}")
    main = dataclasses.replace(
        main, columns=tuple(dataclasses.replace(column, table=SOURCE) for column in main.columns)
    )
    profiles = Profiles(database, main, [])
    for table in tables[1:]:
        key = _shared_key(main, table)
        if key:
            profiles.side_tables.append(dataclasses.replace(table, key=key))
        else:
            profiles.left_out.append(f"{table.files}: no column with unique values that the source has too")
    return profiles


def _grouped_files(source: Path) -> list[tuple[str, str, list[Path]]]:
    """Name, pattern and files of each table: the files of a folder with the same columns are one table."""
    require_source(source, "--from")
    files = [source] if source.is_file() else _readable_files(source)
    if not files:
        raise BadInput(
            "no table", where=str(source),
            expected=f"files with a suffix of {', '.join((*_PARQUET_SUFFIXES, *_TEXT_SUFFIXES))}",
            got="none", fix="Correct --from, or rename the files.",
        )  # fmt: skip
    groups: dict[tuple[str, ...], list[Path]] = {}
    for file in files:
        suffix = suffix_of(file)
        if suffix in _PARQUET_SUFFIXES:
            key: tuple[str, ...] = ("parquet",)
        else:
            layout = guess_layout(file)
            key = (suffix, *layout.names) if layout.has_header else (suffix, str(len(layout.names)))
        groups.setdefault(key, []).append(file)
    names = {SOURCE}
    return [
        (unique_name(_table_name(found[0]), names), _pattern(found, source), found)
        for found in groups.values()
    ]


def _table_name(file: Path) -> str:
    """The suffix of an atomic file such as `ml-100k.item`, else the name without suffixes."""
    suffix = suffix_of(file)
    return plain_name(suffix if suffix in (".item", ".user") else file.name.partition(".")[0])


def _readable_files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not file.name.startswith((".", "_"))
        and suffix_of(file) in (*_PARQUET_SUFFIXES, *_TEXT_SUFFIXES)
    )


def _pattern(files: Sequence[Path], source: Path) -> str:
    """A name or pattern that fits these files and no others, relative to the source's folder.

    Raises:
        BadInput: if every pattern also fits a file of another table.
    """
    folder = source if source.is_dir() else source.parent
    names = [file.relative_to(folder).as_posix() for file in files]
    if len(names) == 1:
        return names[0]
    start = _common_start(names)
    end = _common_start([name[len(start) :][::-1] for name in names])[::-1]
    # Later files have other numbers.
    base = re.sub(_NUMBERS, "", start)
    for pattern in (f"{base}*{end}", f"{start}*", f"{start}*{end}", f"{base}*/*{end}", "*"):
        with contextlib.suppress(BadInput):  # No file fits the pattern.
            if find_files(FileSettings(files=pattern), folder) == sorted(files):
                return pattern
    raise BadInput(
        "files of several tables", where=str(folder), expected="file names that tell the tables apart",
        got=f"{names[0]} and {len(names) - 1} more with the same columns, named like others",
        fix="Put the files of each table into a folder of its own, or rename them.",
    )  # fmt: skip


def _common_start(names: Sequence[str]) -> str:
    """The longest text that all names begin with."""
    first, last = min(names), max(names)
    differing = (index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differing, len(first))]


def _profile(database: Database, name: str, files: str, paths: list[Path]) -> TableProfile:
    is_parquet = suffix_of(paths[0]) in _PARQUET_SUFFIXES
    layout = None if is_parquet else guess_layout(paths[0])
    settings = FileSettings() if layout is None else file_settings(layout)
    relation = relation_of(database, settings, group_files(settings, paths))
    table = identifier(name)
    database.run(
        f"CREATE TABLE {table} AS SELECT {', '.join(map(identifier, relation.columns))}"  # noqa: S608
        f" FROM {relation.sql} USING SAMPLE reservoir({MAX_SAMPLE_ROWS} ROWS) REPEATABLE (1)"
    )
    num_rows = database.value(f"SELECT count(*) FROM {relation.sql}")  # noqa: S608 - quoted names
    if not num_rows:
        raise BadInput(
            "a table without rows", where=str(paths[0]), expected="rows", got="none", fix="Give another file."
        )
    columns = [_profile_column(database, name, column, layout) for column in relation.columns]
    return TableProfile(name, files, layout, tuple(columns), num_rows)


def file_settings(layout: TextLayout) -> FileSettings:
    """How the import reads such a file; the values stay text."""
    return FileSettings(
        format="atomic" if layout.is_atomic else "csv",
        delimiter=layout.delimiter,
        header=layout.has_header,
        columns={} if layout.has_header else dict.fromkeys(layout.names, "text"),
        encoding="latin-1" if layout.encoding == "latin-1" else "utf-8",
        null_values=layout.null_texts,
    )


def _profile_column(database: Database, table: str, name: str, layout: TextLayout | None) -> ColumnProfile:
    quoted, relation = identifier(name), identifier(table)
    (stored_as,) = database.types([quoted], relation)
    kind, sql = _kind_of(database, relation, quoted, stored_as, layout)
    is_number = kind in ("integer", "number", "boolean")
    number = f"CAST({sql} AS DOUBLE)" if is_number else "NULL::DOUBLE"
    item = f"unnest({quoted})" if kind in ("texts", "numbers") else quoted
    num_rows, null_share, zero_share, low, high, mean_length = database.rows(
        f"SELECT count({quoted}), 1 - count({quoted}) / count(*),"  # noqa: S608 - quoted names
        f" coalesce(avg(CAST({number} = 0 AS INTEGER)), 0), min({number}), max({number}),"
        f" coalesce(avg(length(CAST({quoted} AS VARCHAR))), 0) FROM {relation}"
    )[0]
    items = f"(SELECT CAST({item} AS VARCHAR) AS item FROM {relation} WHERE {quoted} IS NOT NULL)"  # noqa: S608
    num_distinct = database.value(f"SELECT count(DISTINCT item) FROM {items}")  # noqa: S608
    separator = _separator(database, relation, quoted) if stored_as == "VARCHAR" and kind == "text" else ""
    if separator:
        items = f"(SELECT unnest(string_split(item, {literal(separator)})) AS item FROM {items})"  # noqa: S608
        num_distinct = database.value(f"SELECT count(DISTINCT item) FROM {items}")  # noqa: S608
    values: list[str] = []
    if num_distinct <= MAX_LISTED_VALUES:
        query = f"SELECT item FROM {items} GROUP BY item ORDER BY count(*) DESC, item"  # noqa: S608
        values = [value for (value,) in database.rows(query)]
    return ColumnProfile(
        table, name, kind, num_rows, num_distinct, null_share, zero_share, low, high,
        tuple(values), mean_length, stored_as, sql, separator,
    )  # fmt: skip


def _kind_of(
    database: Database, relation: str, quoted: str, stored_as: str, layout: TextLayout | None
) -> tuple[Kind, str]:
    """The kind of a column, and SQL for its values in this kind."""
    for pattern, kind in _KINDS.items():
        if re.fullmatch(pattern, stored_as):
            return kind, quoted
    if stored_as != "VARCHAR":
        return "text", f"CAST({quoted} AS VARCHAR)"
    number, is_number = quoted, f"NOT regexp_full_match({quoted}, '0[0-9]+')"
    if layout is not None and layout.decimal == ",":
        number = f"replace(replace({quoted}, '.', ''), ',', '.')"
        # Otherwise 07.03.2024 would be the number 7032024.
        is_number = f"regexp_full_match({quoted}, '[+-]?([0-9]+|[0-9]{{1,3}}(\\.[0-9]{{3}})+)(,[0-9]+)?')"
    casts: tuple[tuple[Kind, str, str], ...] = (
        ("integer", f"TRY_CAST({quoted} AS BIGINT)", f"regexp_full_match({quoted}, '[+-]?(0|[1-9][0-9]*)')"),
        ("number", f"TRY_CAST({number} AS DOUBLE)", is_number),
        ("boolean", f"TRY_CAST({quoted} AS BOOLEAN)", "true"),
    )
    for kind, sql, condition in casts:
        share = database.value(
            f"SELECT coalesce(avg(CAST({sql} IS NOT NULL AND {condition} AS INTEGER)), 0)"  # noqa: S608
            f" FROM {relation} WHERE {quoted} IS NOT NULL"
        )
        if share >= MIN_SHARE:
            return kind, sql
    return "text", quoted


def _separator(database: Database, relation: str, quoted: str) -> str:
    """`|`, `;` or `,` if it separates several values in many texts of a column; else empty."""
    for separator in ("|", ";", ","):
        parts = f"unnest(string_split({quoted}, {literal(separator)}))"
        has_several, num_parts, num_texts = database.rows(
            f"SELECT avg(CAST(contains({quoted}, {literal(separator)}) AS INTEGER)),"  # noqa: S608
            f" (SELECT count(DISTINCT part) FROM (SELECT {parts} AS part FROM {relation})),"
            f" count(DISTINCT {quoted}) FROM {relation} WHERE {quoted} IS NOT NULL"
        )[0]
        # Commas and semicolons are also part of ordinary texts.
        are_few = separator == "|" or num_parts < num_texts / 2
        if has_several is not None and has_several > 0.2 and are_few:
            return separator
    return ""


def _shared_key(main: TableProfile, table: TableProfile) -> str:
    """The first column whose values are unique in `table` and that the source has too; empty if none."""
    names = {column.name for column in main.columns}
    for column in table.columns:
        if column.name in names and column.num_distinct == column.num_rows and not column.null_share:
            return column.name
    return ""


def all_columns(tables: Iterable[TableProfile]) -> list[ColumnProfile]:
    """The columns of several tables, without the keys of side tables."""
    return [column for table in tables for column in table.columns if column.name != table.key]
