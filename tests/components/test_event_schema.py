import contextlib

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.event_schema import (
    EventColumns,
    check_columns,
    check_history,
    domain_of,
    read_schema,
    with_history,
)
from components.history.settings import History, ItemSequence
from eventlog.errors import BadInput
from eventlog.rows import FIXED_COLUMNS
from models.features import Feature

COLUMNS = {
    "preis": "type: FLOAT value_count { min: 1 max: 1 }",
    "stichworte": "type: BYTES value_count { min: 1 }",
    "anzahl": "type: INT",
    "alt": "type: INT lifecycle_stage: DEPRECATED",
    "label_gekauft": "type: FLOAT value_count { min: 1 max: 1 }",
}


@pytest.fixture
def path(tmp_path):
    fixed = {field.name: "BYTES" if field.type == "string" else "INT" for field in FIXED_COLUMNS}
    lines = [f'feature {{ name: "{name}" type: {kind} }}' for name, kind in fixed.items()]
    lines += [f'feature {{ name: "{name}" {text} }}' for name, text in COLUMNS.items()]
    file = tmp_path / "schema.pbtxt"
    file.write_text("\n".join(lines))
    return file


def test_the_columns_of_a_log_come_from_its_schema(path):
    columns = EventColumns(schema=str(path), delays={"gekauft": 0}, features=("preis",)).read()
    assert columns.features == {
        "preis": pa.float32(),
        "stichworte": pa.list_(pa.string()),
        "anzahl": pa.int64(),
    }
    assert columns.optional == {"stichworte", "anzahl"}
    assert columns.schema.names == [*FIXED_COLUMNS.names, "label_gekauft", *columns.features]


def test_a_column_without_a_type_is_refused(path):
    path.write_text(path.read_text() + '\nfeature { name: "farbe" }')
    with pytest.raises(
        BadInput, match="unsuitable type of column farbe in the schema: expected BYTES, INT or FLOAT"
    ):
        EventColumns(schema=str(path), delays={}, features=()).read()


def test_all_faults_of_a_schema_are_named_at_once(path):
    schema = text_format.Parse(path.read_text(), schema_pb2.Schema())
    features = {"preise": Feature(kind="number"), "stichworte": Feature(kind="id", buckets=5)}
    with pytest.raises(
        BadInput,
        match=r"no column label_retoure .*Did you mean 'label_gekauft'|no column label_retoure.* "
        r"Also: no column preise in the schema: .*; several values in column stichworte: expected one value",
    ) as error:
        check_columns(schema, path, features, ["gekauft", "retoure"])
    assert str(error.value).count("expected") == 3


@pytest.mark.parametrize(
    ("column", "kind", "value", "is_allowed"),
    [
        ("anzahl", "id", 3, True),
        ("anzahl", "id", "3", False),
        ("anzahl", "number", 2.5, False),
        ("preis", "number", 2, True),
        ("stichworte", "bag", ("a", "b"), True),
        ("stichworte", "bag", (1,), False),
    ],
)
def test_a_served_value_must_have_the_type_of_its_column(path, column, kind, value, is_allowed):
    buckets = 0 if kind == "number" else 5
    features = {column: Feature(kind=kind, buckets=buckets, served_as=value)}
    expected = contextlib.nullcontext()
    if not is_allowed:
        expected = pytest.raises(BadInput, match=f"served_as of another type than column {column}: expected")
    with expected:
        check_columns(read_schema(path), path, features, ["gekauft"])


def test_the_vocabulary_of_a_column_is_its_domain_in_the_schema(path):
    path.write_text(
        path.read_text()
        + """
        feature { name: "land" type: BYTES string_domain { value: "DE" value: "AT" } }
        feature { name: "ziel" type: BYTES domain: "laender" }
        string_domain { name: "laender" value: "CH" }
        """
    )
    schema = read_schema(path)
    domains = {name: domain_of(schema, name) for name in ("land", "ziel", "anzahl", "fehlt")}
    assert domains == {"land": ("DE", "AT"), "ziel": ("CH",), "anzahl": (), "fehlt": ()}


HISTORY = History(
    entities={"ware": "anzahl"},
    tasks=("gekauft",),
    sequences={"last": ItemSequence(entity="ware", column="anzahl", length=3)},
)


def test_the_schema_of_the_examples_has_the_columns_of_the_history(path):
    schema = read_schema(path)
    extended = with_history(schema, HISTORY)
    assert with_history(schema, None) == schema
    assert [
        (
            column.name,
            schema_pb2.FeatureType.Name(column.type),
            column.value_count.min,
            column.value_count.max,
        )
        for column in extended.feature[len(schema.feature) :]
    ] == [
        ("history_ware_count", "FLOAT", 1, 1),
        ("history_ware_gekauft", "FLOAT", 1, 1),
        ("sequence_last", "BYTES", 1, 0),
        ("sequence_last_ages", "INT", 1, 0),
        ("sequence_last_hours", "FLOAT", 1, 1),
    ]
    features = {"history_ware_count": Feature(kind="number"), "sequence_last": Feature(kind="bag", buckets=9)}
    check_columns(extended, path, features, ["gekauft"])
    with pytest.raises(BadInput, match=r"no column history_war_count .*Did you mean 'history_ware_count'"):
        check_columns(extended, path, {"history_war_count": Feature(kind="number")}, [])


def test_a_history_of_columns_that_the_schema_has_is_accepted(path):
    check_history(read_schema(path), path, HISTORY)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (
            History(entities={"ware": "anzal"}),
            r"no column anzal in the schema.*\(history.entities.ware\).*'anzahl'",
        ),
        (History(entities={"ware": "preis"}), "wrong type of column preis .* expected BYTES or INT"),
        (
            History(
                entities={"ware": "anzahl"},
                sequences={"last": ItemSequence(entity="ware", column="stichworte", length=3)},
            ),
            r"several values in column stichworte: expected one value \(history.sequences.last\)",
        ),
        (
            History(
                entities={"wort": "stichworte"},
                sequences={"last": ItemSequence(entity="wort", column="anzahl", length=3)},
            ),
            r"several values in column stichworte",
        ),
    ],
)
def test_a_history_of_columns_without_ids_is_refused(path, history, message):
    with pytest.raises(BadInput, match=message):
        check_history(read_schema(path), path, history)


def test_a_history_must_not_add_a_column_that_the_log_has(path):
    path.write_text(path.read_text() + '\nfeature { name: "history_ware_count" type: FLOAT }')
    with pytest.raises(
        BadInput, match="column history_ware_count in the schema: expected a column that history adds"
    ):
        check_history(read_schema(path), path, HISTORY)
