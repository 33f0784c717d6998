"""Loads a source and its side tables into the database of an import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eventlog.errors import BadInput
from eventlog.importing.staging import BUCKET, ROWS, Staging
from eventlog.tables.database import Database
from eventlog.tables.dirt import Dirt, DirtReport, percent
from eventlog.tables.expressions import SOURCE, Expressions
from eventlog.tables.mapping import TableMapping
from eventlog.tables.relations import Relation, load_side_table, rejected_lines, relation_of
from eventlog.tables.table_files import find_files, group_files, require_complete, require_source


@dataclass(frozen=True)
class LoadedTable:
    """A source in the table `ROWS`.

    Attributes:
        where: the mapping's file, for error messages.
        staging: the columns of `ROWS`.
        expressions: checks the expressions of the mapping.
        rejected: lines of the source that cannot be read.
        num_unplaced: number of rejected lines and of rows without a time; they belong to no span.
        num_rows: number of all rows, with the lines that cannot be read.
        notes: lines about side tables for the report.
    """

    where: str
    staging: Staging
    expressions: Expressions
    rejected: Sequence[Dirt]
    num_unplaced: int
    num_rows: int
    notes: Sequence[str]


def load_table(database: Database, mapping: TableMapping, where: str, source: Path, log: Path) -> LoadedTable:
    """Reads the table into `ROWS`. Afterwards the database can read only the table's files and the log.

    Raises:
        BadInput: if a file or an expression is wrong, or too many rows of a side table are dropped.
    """
    side_files, files = _find_all(mapping, source, log)
    require_complete([*files, *(file for found in side_files.values() for file in found)])
    database.confine([*files, *(file for found in side_files.values() for file in found)], log)
    relation = relation_of(database, mapping.source, group_files(mapping.source, files))
    tables: dict[str, Relation] = {}
    notes: list[str] = []
    for name, settings in mapping.tables.items():
        tables[name] = relation_of(database, settings, group_files(settings, side_files[name]))
        report = load_side_table(database, name, settings.key, tables[name], f"{where}: tables.{name}.key")
        rejected = rejected_lines(database, side_files[name])
        num_rejected = sum(entry.num_rows for entry in rejected)
        report = DirtReport(report.num_rows + num_rejected, [*rejected, *report.dirt])
        require_few_dropped(report.share, mapping.max_dropped, f"{source}: table {name}")
        notes += [f"table {name}: {line}" for line in report.lines()] if report.dirt else []
    columns = {SOURCE: relation.columns, **{name: table.columns for name, table in tables.items()}}
    expressions = Expressions(database, where, columns)
    staging = Staging(mapping, where, relation)
    staging.stage(database, expressions)
    rejected = rejected_lines(database, files)
    num_rejected = sum(entry.num_rows for entry in rejected)
    counts = f"SELECT count(*), count(*) - count({BUCKET}) FROM {ROWS}"  # noqa: S608 - only constants
    num_rows, num_without_time = database.rows(counts)[0]
    return LoadedTable(
        where, staging, expressions, rejected, num_rejected + num_without_time, num_rejected + num_rows, notes
    )


def require_few_dropped(share: float, limit: float, where: str) -> None:
    """Raises BadInput if the share of dropped rows is above `TableMapping.max_dropped`."""
    if share > limit:
        raise BadInput(
            "too many rows are dropped", where=where, expected=f"at most {percent(limit)} (max_dropped)",
            got=percent(share), fix="Read the report, then repair the source or correct the mapping.",
        )  # fmt: skip


def _find_all(mapping: TableMapping, source: Path, log: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each side table, and those of the source; all of them absolute."""
    require_source(source, "--source")
    folder = (source if source.is_dir() else source.parent).absolute()
    side_files = {name: find_files(table, folder) for name, table in mapping.tables.items()}
    if not source.is_dir():
        return side_files, [source.absolute()]
    # The log may be inside the source's folder.
    others = [*(file for found in side_files.values() for file in found), *log.rglob("*")]
    return side_files, find_files(mapping.source, folder, others)
