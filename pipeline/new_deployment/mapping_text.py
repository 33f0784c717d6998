"""Writes the import mapping of a first deployment as commented YAML."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

from pipeline.new_deployment.event_time import MAX_DROPPED
from pipeline.new_deployment.first_deployment import FirstDeployment
from pipeline.new_deployment.names import YAML_WORDS
from pipeline.new_deployment.roles import column_sql
from pipeline.new_deployment.table_profile import TableProfile

_IMPORT_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean"}


def mapping_text(first: FirstDeployment) -> str:
    """The content of `mapping.yaml`."""
    return "\n".join([*_header(first), *_files(first), *_rows(first), *_columns(first)]) + "\n"


def yaml_text(text: str) -> str:
    """A text as a YAML value: plain if it cannot be misread, else in quotes."""
    is_plain = re.fullmatch(r"[A-Za-z_][\w. ()/*+<>=-]*", text) and text.lower() not in YAML_WORDS
    return text if is_plain and not text.endswith(" ") else json.dumps(text, ensure_ascii=False)


def _header(first: FirstDeployment) -> Iterator[str]:
    yield "# What the columns of the table mean. Guessed from a sample: read every line."
    yield "# Expressions are DuckDB's SQL over the columns of `source` and of the side tables."
    source = shlex.quote(first.source)
    yield f"#   rankdistill events import --mapping mapping.yaml --source {source} --out events"
    for note in first.unsure:
        yield f"# Unsure: {note}."
    yield "# To try a large table on 5 % of its users first, add this line:"
    where = f"hash({column_sql(first.roles.user)}) % 20 = 0"
    yield f"#   where: {json.dumps(where, ensure_ascii=False)}"


def _files(first: FirstDeployment) -> Iterator[str]:
    source = first.profiles.source
    options = _options(source, first)
    if options:
        yield "source:"
        yield from (f"  {line}" for line in options)
    if first.profiles.side_tables:
        yield "tables:"
        for table in first.profiles.side_tables:
            yield f"  {table.name}:"
            yield from (f"    {line}" for line in _options(table, first))
            yield f"    key: {yaml_text(table.key)}"
    for reason in first.profiles.left_out:
        yield f"# Not used: {reason}."


def _options(table: TableProfile, first: FirstDeployment) -> list[str]:
    lines = [f"files: {json.dumps(table.files)}"] if first.is_folder else []
    layout = table.layout
    if layout is None:
        return lines
    if layout.is_atomic:
        return [*lines, "format: atomic"]
    lines += ["format: csv", f"delimiter: {json.dumps(layout.delimiter)}"]
    if not layout.has_header:
        lines.append("header: false")
    if layout.encoding != "utf-8":
        lines.append(f"encoding: {layout.encoding}")
    if layout.decimal != ".":
        lines += [f"decimal: {json.dumps(layout.decimal)}", 'thousands: "."']
    if layout.null_texts:
        lines.append(f"null_values: {json.dumps(list(layout.null_texts))}")
    types = {column.name: _IMPORT_TYPES.get(column.kind, "text") for column in table.columns}
    if layout.has_header:
        types = {name: kind for name, kind in types.items() if kind != "text"}
    if types:
        lines.append("columns:")
        lines += [f"  {json.dumps(name, ensure_ascii=False)}: {kind}" for name, kind in types.items()]
    return lines


def _rows(first: FirstDeployment) -> Iterator[str]:
    time, spans, roles = first.time, first.spans, first.roles
    settings = {"unit": time.unit, "zone": time.zone, "format": time.format}
    value = column_sql(next(c for c in first.profiles.source.columns if c.name == time.column))
    listed = "".join(f", {key}: {json.dumps(text)}" for key, text in settings.items() if text)
    yield f"time: {{value: {yaml_text(value)}{listed}}}"
    yield f"# {spans.reason}."
    yield f"spans: {{count: {spans.rows}}}" if spans.by is None else f"spans: {{by: {spans.by}}}"
    yield f"surface: {json.dumps(first.surface_sql, ensure_ascii=False)}"
    yield "# 5 % of the clusters are held out, and intervals resample clusters."
    yield f"cluster: {yaml_text(column_sql(roles.user))}"
    yield "# Of a span's rows with the same example id, one is kept. The default id is a hash of all columns."
    yield "duplicates: drop"
    yield "# A larger share of dropped rows ends the import."
    yield f"max_dropped: {MAX_DROPPED}"


def _columns(first: FirstDeployment) -> Iterator[str]:
    yield "# For a label that is known only later, add `delay`: the number of spans until then."
    yield "labels:"
    for label in first.roles.labels:
        yield f"  {label.task}: {{value: {yaml_text(label.value)}}}"
    yield "# Remove every feature that is known only after the impression, such as a rating or a play time."
    yield "features:"
    for feature in first.roles.features:
        yield f"  {feature.name}: {{value: {yaml_text(feature.value)}, type: {feature.type}}}"
    for name, reason in first.roles.left_out.items():
        yield f"  # Not used: {name} ({reason})."
