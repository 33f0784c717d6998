"""Reads the TFMD schema of an event log, and says which columns a deployment needs from the log."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.history.settings import HISTORY_PREFIX, History
from eventlog.columns import LogColumns
from eventlog.errors import BadInput, Mismatch, require_no_mismatch
from eventlog.rows import FIXED_COLUMNS, LABEL_PREFIX
from models.features import Feature, ServedValue
from models.settings import settings

_COLUMN_TYPES = {
    "id": (schema_pb2.BYTES, schema_pb2.INT),
    "bag": (schema_pb2.BYTES, schema_pb2.INT),
    "number": (schema_pb2.INT, schema_pb2.FLOAT),
    "quantiles": (schema_pb2.INT, schema_pb2.FLOAT),
}
"""Kind of a feature -> allowed types of its column."""
_UNUSED_STAGES = (
    schema_pb2.PLANNED, schema_pb2.ALPHA, schema_pb2.DEPRECATED, schema_pb2.DISABLED, schema_pb2.DEBUG_ONLY,
    schema_pb2.VALIDATION_DERIVED,
)  # fmt: skip
"""Lifecycle stages of columns that TFT leaves out."""


_ARROW_TYPES = {
    schema_pb2.BYTES: pa.string(), schema_pb2.INT: pa.int64(), schema_pb2.FLOAT: pa.float32(),
}  # fmt: skip


_TFMD_TYPES = {kind: tfmd_type for tfmd_type, kind in _ARROW_TYPES.items()}


@settings
class EventColumns:
    """Names the columns of the event log that a deployment reads.

    Attributes:
        schema: Path of the TFMD schema.
        delays: Task → number of spans after which the log brings its label; 0 for an immediate task.
        features: Names of the features' columns, which every file must have. Other columns of the schema are
            null where a file lacks them.
    """

    schema: str
    delays: dict[str, int]
    features: tuple[str, ...]

    def read(self) -> LogColumns:
        """Reads the types of the columns from the schema.

        Raises:
            BadInput: see `read_schema`. Also if a column has another type than BYTES, INT or FLOAT.
        """
        path = Path(self.schema)
        fixed = {*FIXED_COLUMNS.names, *(LABEL_PREFIX + task for task in self.delays)}
        types = {
            name: _arrow_type(column, path)
            for name, column in used_columns(read_schema(path)).items()
            if name not in fixed
        }
        return LogColumns(dict(self.delays), types, frozenset(types) - frozenset(self.features))


def used_columns(schema: schema_pb2.Schema) -> dict[str, schema_pb2.Feature]:
    """The columns of a schema by name, without those that TFT leaves out."""
    return {
        column.name: column
        for column in schema.feature
        if not column.deprecated and column.lifecycle_stage not in _UNUSED_STAGES
    }


def with_history(schema: schema_pb2.Schema, history: History | None) -> schema_pb2.Schema:
    """The schema of the examples: the event log's columns and those that the history adds."""
    extended = schema_pb2.Schema()
    extended.CopyFrom(schema)
    for field in history.produced if history is not None else ():
        is_list = pa.types.is_list(field.type)
        column = extended.feature.add(
            name=field.name, type=_TFMD_TYPES[field.type.value_type if is_list else field.type]
        )
        column.value_count.min = 1
        if not is_list:
            column.value_count.max = 1
        if field.name.startswith(HISTORY_PREFIX):
            column.presence.min_fraction = 1.0
    return extended


def check_history(schema: schema_pb2.Schema, path: Path, history: History) -> None:
    """Checks that the schema has the columns that a history reads, and none of those that it adds.

    Raises:
        BadInput: if a column is missing, has a type that is no id, holds lists where a sequence needs one
            value, or has the name of a column that the history adds. The message names all such columns.
    """
    columns = used_columns(schema)
    wanted = [(column, f"history.entities.{name}") for name, column in history.entities.items()]
    wanted += [(sequence.column, f"history.sequences.{name}") for name, sequence in history.sequences.items()]
    mismatches = [
        mismatch
        for name, reason in wanted
        if (mismatch := _mismatch(columns, name, _COLUMN_TYPES["id"], reason))
    ]
    for name, sequence in history.sequences.items():
        for column in (sequence.column, history.entities[sequence.entity]):
            if column in columns and _has_list(columns[column]):
                expected = f"one value (history.sequences.{name})"
                fix = "Give the sequence a column with one value in a row, or set value_count.max: 1."
                mismatches.append(Mismatch(f"several values in column {column}", expected, "a list", fix))
    for name in history.produced.names:
        if name in {column.name for column in schema.feature}:
            fix = "Rename the entity or sequence in history, or remove the column from the schema."
            mismatches.append(
                Mismatch(f"column {name} in the schema", "a column that history adds", "both", fix)
            )
    require_no_mismatch(mismatches, str(path))


def _arrow_type(column: schema_pb2.Feature, path: Path) -> pa.DataType:
    if column.type not in _ARROW_TYPES:
        raise BadInput(
            f"unsuitable type of column {column.name} in the schema", where=str(path),
            expected="BYTES, INT or FLOAT", got=schema_pb2.FeatureType.Name(column.type),
            fix="Give the column one of these types.",
        )  # fmt: skip
    value_type = _ARROW_TYPES[column.type]
    return pa.list_(value_type) if _has_list(column) else value_type


def _has_list(column: schema_pb2.Feature) -> bool:
    return bool(column.HasField("value_count") and column.value_count.max != 1)


def read_schema(path: Path) -> schema_pb2.Schema:
    """Reads a schema in protobuf's text format.

    Raises:
        BadInput: if the file cannot be read or parsed, or contains a column twice.
    """
    try:
        schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise BadInput(
            "not a schema", where=str(path), expected="a TFMD schema in protobuf's text format",
            got=str(error).splitlines()[0], fix="Correct the file; schema/impressions.pbtxt is an example.",
        ) from error  # fmt: skip
    names = [feature.name for feature in schema.feature]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(
                "a column twice in the schema", where=str(path), expected=f"one feature {name!r}",
                got=str(names.count(name)), fix="Remove one of them.",
            )  # fmt: skip
    return schema


def check_columns(
    schema: schema_pb2.Schema, path: Path, features: Mapping[str, Feature], tasks: Iterable[str]
) -> None:
    """Checks that the schema has every column that a deployment reads, with a suitable type.

    Args:
        schema: The schema.
        path: The schema's file, for messages.
        features: The features by name.
        tasks: Names of the tasks.

    Raises:
        BadInput: if a column is missing or has another type, a column holds lists, but its feature is not a
            bag, or a feature's `served_as` does not fit the column. The message names all such columns.
    """
    columns = used_columns(schema)
    wanted: list[tuple[str, tuple[int, ...], str]] = []
    for field in FIXED_COLUMNS:
        types = (schema_pb2.BYTES,) if field.type == "string" else (schema_pb2.INT,)
        wanted.append((field.name, types, "every event log has it"))
    wanted += [(LABEL_PREFIX + task, (schema_pb2.FLOAT,), f"labels of tasks.{task}") for task in tasks]
    wanted += [
        (name, _COLUMN_TYPES[feature.kind], f"features.{name} of kind {feature.kind}")
        for name, feature in features.items()
    ]
    mismatches = [
        mismatch for name, types, reason in wanted if (mismatch := _mismatch(columns, name, types, reason))
    ]
    for name, feature in features.items():
        if name in columns and feature.kind != "bag" and _has_list(columns[name]):
            expected = f"one value (features.{name} of kind {feature.kind})"
            fix = "Give the feature the kind bag, or set value_count.max: 1 in the schema."
            mismatches.append(Mismatch(f"several values in column {name}", expected, "a list", fix))
        if name in columns and not _fits(feature.served_as, columns[name].type):
            expected = schema_pb2.FeatureType.Name(columns[name].type)
            fix = f"Correct features.{name}.served_as."
            mismatches.append(
                Mismatch(
                    f"served_as of another type than column {name}", expected, repr(feature.served_as), fix
                )
            )
    require_no_mismatch(mismatches, str(path))


def domain_of(schema: schema_pb2.Schema, name: str) -> tuple[str, ...]:
    """The values that the schema lists for a column of text; empty if it lists none."""
    column = used_columns(schema).get(name)
    if column is None:
        return ()
    if column.HasField("domain"):
        shared = {domain.name: domain for domain in schema.string_domain}
        return tuple(shared[column.domain].value) if column.domain in shared else ()
    return tuple(column.string_domain.value)


def _fits(value: ServedValue | None, kind: int) -> bool:
    """Whether a column of this type of TFMD can hold the value; True for None."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    types = {schema_pb2.BYTES: (str,), schema_pb2.INT: (int,), schema_pb2.FLOAT: (int, float)}
    return all(isinstance(item, types.get(kind, ())) for item in values)


def _mismatch(
    columns: Mapping[str, schema_pb2.Feature], name: str, types: tuple[int, ...], reason: str
) -> Mismatch | None:
    """Returns the fault of a column that is missing or whose type is not in `types`; None without a fault.

    `reason` says in the message why the deployment needs the column.
    """
    expected = " or ".join(schema_pb2.FeatureType.Name(kind) for kind in types)
    if name not in columns:
        close_names = difflib.get_close_matches(name, columns, n=1)
        hint = f"Did you mean {close_names[0]!r}?" if close_names else "Add the column to the schema."
        expected = f"type {expected} ({reason})"
        return Mismatch(f"no column {name} in the schema", expected, "no such column", hint)
    if columns[name].type not in types:
        got = schema_pb2.FeatureType.Name(columns[name].type)
        fix = "Correct the schema, or the kind of the feature."
        return Mismatch(f"wrong type of column {name} in the schema", f"{expected} ({reason})", got, fix)
    return None
