"""Tables of a BigQuery store, on a local server."""

from __future__ import annotations

import dataclasses
import uuid

import pytest
from google.cloud import bigquery as bq

from components.label_store.bigquery.location import parse_location
from components.label_store.schemes import open_store
from eventlog.errors import BadInput


@pytest.fixture
def location(bigquery, tmp_path):
    uri = bigquery.store_uri(f"d{uuid.uuid4().hex}", tmp_path / "staging")
    return parse_location(uri.removeprefix("bigquery://"))


def test_init_creates_both_tables_and_can_run_again(location):
    names = [location.table("labels"), location.table("label_sets")]
    assert open_store(location.uri).initialize() == names
    assert open_store(location.uri).initialize() == names
    labels = location.client().get_table(names[0])
    assert [field.name for field in labels.schema] == ["label_set", "example_id", "event_date", "surface"]
    assert labels.time_partitioning.field == "event_date"
    assert labels.time_partitioning.expiration_ms is None
    assert labels.require_partition_filter
    assert labels.clustering_fields == ["label_set", "example_id"]


def test_init_sets_the_retention_and_changes_it(location):
    for days in (30, 90):
        open_store(dataclasses.replace(location, retention_days=days).uri).initialize()
        labels = location.client().get_table(location.table("labels"))
        assert labels.time_partitioning.expiration_ms == days * 24 * 3600 * 1000


def test_billing_labels_are_on_the_tables(location):
    open_store(dataclasses.replace(location, billing_labels={"team": "ranking"}).uri).initialize()
    for name in ("labels", "label_sets"):
        assert location.client().get_table(location.table(name)).labels == {"team": "ranking"}


def test_a_table_of_another_shape_is_refused(location):
    client = location.client()
    client.create_dataset(location.dataset)
    client.create_table(bq.Table(location.table("labels"), schema=[bq.SchemaField("x", "INT64")]))
    with pytest.raises(
        BadInput,
        match="labels: a table with this name has other columns, partitioning or clustering: expected ",
    ):
        open_store(location.uri).initialize()


def test_columns_without_a_description_do_not_stop_the_next_new_task(location, labels):
    store = open_store(location.uri)
    store.initialize()
    table = location.client().get_table(location.table("labels"))
    by_hand = [bq.SchemaField("note", "STRING"), bq.SchemaField("soft_by_hand", "FLOAT64")]
    table.schema = [*table.schema, *by_hand]
    location.client().update_table(table, ["schema"])
    record = labels.publish(store, labels.make_key(), labels.make_table(["a"], [0.5]))
    assert labels.read_rows(store, record.set_id) == [("a", 0.5)]


def test_without_init_a_store_is_refused_with_the_command_to_run(location, labels):
    store = open_store(location.uri)
    writer = store.stage(labels.make_key(), {"click": labels.CLICK})
    shards = [writer.write("shard-0", labels.make_table(["a"], [0.5]))]
    for call in (store.list_sets, lambda: store.publish(writer, shards, labels.FACTS)):
        with pytest.raises(BadInput, match=r"no label store in this dataset: .* Run `rankdistill labels"):
            call()
