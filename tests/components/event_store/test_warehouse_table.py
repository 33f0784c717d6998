"""A BigQuery table as the source of `rankdistill init` and of the import, on a local server."""

import datetime
import decimal
import io
import shlex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from components.event_store.warehouse_table import parse_warehouse_table
from eventlog.errors import BadInput
from testing.bigquery_server import PROJECT, missing_python, running

pytestmark = [
    pytest.mark.skipif(missing_python() is not None, reason=str(missing_python())),
]
NUM_ROWS = 3000


def orders():
    start = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    numbers = range(NUM_ROWS)
    times = [start + datetime.timedelta(minutes=5 * number) for number in numbers]
    return pa.table(
        {
            "order_time": pa.array(times, pa.timestamp("us", "UTC")),
            "customer": [2**60 + number % 90 for number in numbers],
            "article": [f"a{number * 7 % 150}" for number in numbers],
            "shelf": ["home" if number % 3 else "search" for number in numbers],
            "clicked": [number * 11 % 10 < 4 for number in numbers],
            "price": pa.array(
[decimal.Decimal(number * 13 % 997) / 100 for number in numbers], pa.decimal128(38, 9)
            ),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def table_uri(tmp_path_factory):
    data = tmp_path_factory.mktemp("server")
    with running(data, threads=1) as server:
        endpoints = f"endpoint={server.endpoint}&read_endpoint=127.0.0.1:{server.grpc_port}"
        uri = f"bigquery:{PROJECT}.shop.orders?{endpoints}"
        client = parse_warehouse_table(uri).location.client()
        client.create_dataset("shop")
        content = io.BytesIO()
        pq.write_table(orders(), content)
        content.seek(0)
        config = bigquery.LoadJobConfig(source_format="PARQUET")
        client.load_table_from_file(content, f"{PROJECT}.shop.orders", job_config=config).result()
        yield uri


def read_rows(log):
    return [
        pq.read_table(file, partitioning=None).to_pylist() for file in sorted(log.glob("span=*/*.parquet"))
    ]


def test_init_and_import_take_a_table_and_give_what_a_file_gives(table_uri, command, tmp_path):
    source = tmp_path / "orders.parquet"
    pq.write_table(orders(), source)
    written = {}
    for name, given in (("table", table_uri), ("file", source)):
        folder, log = tmp_path / name, tmp_path / f"log-{name}"
        code, printed = command("init", folder, "--from", given)
        assert code == 0, printed
        mapping = folder / "mapping.yaml"
        assert f"--source {shlex.quote(str(given))}" in mapping.read_text()
        code, printed = command("events", "import", "--mapping", mapping, "--source", given, "--out", log)
        assert code == 0, printed
        written[name] = read_rows(log)
    assert written["table"] == written["file"]
    assert sum(map(len, written["table"])) == NUM_ROWS


def test_a_condition_limits_the_rows(table_uri, tmp_path):
    file = tmp_path / "part.parquet"
    assert parse_warehouse_table(f"{table_uri}&where=shelf = 'search'").write_parquet(file) == NUM_ROWS / 3
    assert set(pq.read_table(file)["shelf"].to_pylist()) == {"search"}
    with pytest.raises(BadInput, match="a table without rows"):
        parse_warehouse_table(f"{table_uri}&where=shelf = 'none'").write_parquet(file)


def test_a_sample_has_at_most_the_asked_number_of_rows(table_uri, tmp_path):
    table = parse_warehouse_table(table_uri)
    assert table.num_rows() == NUM_ROWS
    assert 0 < table.write_parquet(tmp_path / "sample.parquet", max_rows=500) <= 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("shop.orders", "shop.ordres"), "no such table"),
        (("shop.orders", "orders"), "not a table's name"),
        (("endpoint", "end_point"), "not a BigQuery table"),
        (("&read_endpoint", "&where=true#"), "read_endpoint=host:port"),
        (("shop.orders", "shop.none"), "no such table"),
    ],
)
def test_a_wrong_table_is_one_line(table_uri, change, message, command, tmp_path):
    code, printed = command("init", tmp_path / "out", "--from", table_uri.replace(*change, 1))
    assert code == 2
    assert message in printed
    assert len(printed.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_condition_is_taken_as_it_is():
    table = parse_warehouse_table("bigquery:p-1.shop.orders?where=a LIKE '%ab%' AND b + 1 > 3&c")
    assert table.where == "a LIKE '%ab%' AND b + 1 > 3&c"
    with pytest.raises(BadInput, match="no condition: expected a condition after where="):
        parse_warehouse_table("bigquery:p-1.shop.orders?where= ")


def test_a_sample_of_a_condition_has_rows_of_the_whole_time(table_uri, tmp_path):
    table = parse_warehouse_table(f"{table_uri}&where=shelf = 'search'")
    assert table.num_rows() == NUM_ROWS / 3
    assert 150 < table.write_parquet(tmp_path / "part.parquet", max_rows=200) <= 200
    sample = pq.read_table(tmp_path / "part.parquet").to_pandas()
    times = orders()["order_time"].to_pandas()
    assert sample["order_time"].max() > times.quantile(0.7)
