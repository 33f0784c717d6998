"""Samples a table and writes the four files of a first deployment."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from eventlog.errors import BadInput
from eventlog.names import MAX_NAME_LENGTH, name_fault, require_safe_path
from eventlog.tables.database import Database, literal
from eventlog.tables.expressions import SOURCE
from pipeline.new_deployment.deployment_text import deployment_text, protocol_text, schema_text
from pipeline.new_deployment.event_time import choose_spans, find_event_time
from pipeline.new_deployment.first_deployment import FirstDeployment
from pipeline.new_deployment.mapping_text import mapping_text
from pipeline.new_deployment.names import plain_name
from pipeline.new_deployment.roles import Roles, column_sql, guess_roles
from pipeline.new_deployment.table_profile import profile_tables

_MAX_SURFACES = 5
_MIN_SURFACE_SHARE = 0.02


def write_first_deployment(
    folder: Path, source: Path, origin: str | None = None, num_rows: int | None = None
) -> FirstDeployment:
    """Writes `mapping.yaml`, `deployment.yaml`, `schema.pbtxt` and `protocol.yaml`.

    Args:
        folder: the folder of the files, created if it is missing.
        source: a file or folder with a table.
        origin: what the files name as the source, if `source` is a copy; None: `source`.
        num_rows: number of rows of the table, if `source` is a sample of it; None: those of `source`.

    Raises:
        BadInput: if one of the files exists, a table cannot be read, or has no time, user, label or feature.
    """
    require_safe_path(folder, "DIR")
    texts = {
        "mapping.yaml": mapping_text, "deployment.yaml": deployment_text, "schema.pbtxt": schema_text,
        "protocol.yaml": protocol_text,
    }  # fmt: skip
    for name in texts:
        if (folder / name).exists():
            raise BadInput(
                "the file exists", where=str(folder / name), expected="a folder without this file",
                got="a file", fix="Give another DIR; nothing is overwritten.",
            )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="rankdistill-init-") as workspace:
        profiles = profile_tables(source, Path(workspace))
        if num_rows is not None:
            profiles.source = dataclasses.replace(profiles.source, num_rows=num_rows)
        try:
            time = find_event_time(profiles.database, profiles.source)
            roles = guess_roles(profiles, time)
            spans = choose_spans(profiles.database, time, column_sql(roles.user), profiles.source.num_rows)
            surface_sql, surfaces = _surfaces(profiles.database, roles)
            doubts = _doubts_about_surfaces(profiles.database, roles, surface_sql)
        finally:
            profiles.database.close()
    first = FirstDeployment(
        _name(folder),
        origin or str(source),
        source.is_dir(),
        profiles,
        time,
        spans,
        roles,
        surface_sql,
        surfaces,
        doubts,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text(first), encoding="utf-8")
    return first


def _name(folder: Path) -> str:
    name = plain_name(folder.resolve().name)
    return name if name_fault(name) is None else "first"


def _doubts_about_surfaces(database: Database, roles: Roles, sql: str) -> tuple[str, ...]:
    """A doubt if several values of the column get the same name."""
    if roles.surface is None:
        return ()
    merged = database.rows(
        f"SELECT {sql} AS name, list(DISTINCT {column_sql(roles.surface)}) FROM {SOURCE}"  # noqa: S608
        f" WHERE {column_sql(roles.surface)} IS NOT NULL GROUP BY name HAVING count(DISTINCT"
        f" {column_sql(roles.surface)}) > 1 ORDER BY name LIMIT 1"
    )
    if not merged:
        return ()
    ((name, values),) = merged
    listed = ", ".join(sorted(map(repr, values))[:5])
    return (f"surface: {listed} get the same name {name}; give them names in `surface`",)


def _surfaces(database: Database, roles: Roles) -> tuple[str, tuple[str, ...]]:
    """The expression for a surface, and the surfaces with enough rows."""
    if roles.surface is None:
        return "'all'", ("all",)
    column = column_sql(roles.surface)
    sql = column if roles.surface.kind == "text" else f"CAST({column} AS VARCHAR)"
    # Surfaces are names of folders and parts of pipelines' names, so they must be safe names.
    if any(name_fault(value) or value[0].isdigit() for value in roles.surface.values):
        prefix = literal(f"{plain_name(roles.surface.name)[:10]}_")
        words = f"regexp_replace(lower(strip_accents({sql})), '[^a-z0-9_-]+', '-', 'g')"
        sql = f"left({prefix} || {words}, {MAX_NAME_LENGTH})"
    counts = database.rows(
        f"SELECT {sql} AS surface, count(*) / sum(count(*)) OVER () AS share FROM {SOURCE}"  # noqa: S608
        f" WHERE {column} IS NOT NULL GROUP BY surface ORDER BY share DESC, surface LIMIT {_MAX_SURFACES}"
    )
    return sql, tuple(name for name, share in counts if share >= _MIN_SURFACE_SHARE)
