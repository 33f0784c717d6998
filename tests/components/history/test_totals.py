import pyarrow as pa

from components.history.settings import History
from components.history.totals import ALL_ROWS, add_up, count_rows, ids_of_rows, shards_of_ids
from tests.components.history.small_log import FIRST_MS, HISTORY, HOUR_MS, RECENT, SPANS, row, table_of

WITH_ITEMS = History(
    entities=HISTORY.entities, tasks=HISTORY.tasks, prior_strength=2.0, sequences={"recent": RECENT}
)


def by_id(totals: pa.Table) -> dict[str, list[float]]:
    """id → impressions, known clicks, sum of clicks, known backs, sum of backs."""
    columns = list(totals.to_pydict().values())[:6]
    return {name: list(numbers) for name, *numbers in zip(*columns, strict=True)}


def test_fresh_rows_are_impressions_and_the_labels_of_matured_rows_count():
    assert by_id(count_rows(table_of(SPANS[2]), 2, HISTORY, "user")) == {
        "u2": [1, 1, 0, 1, 1],
        "u1": [0, 0, 0, 2, 1],
    }
    assert by_id(count_rows(table_of(SPANS[0]), 0, HISTORY, ALL_ROWS)) == {"": [3, 2, 1, 0, 0]}


def test_a_null_id_adds_nothing():
    rows = table_of([row(None, "a", 0, 0, label_click=1.0), row("u", "a", 1, 0, label_click=0.0)])
    assert by_id(count_rows(rows, 0, HISTORY, "user")) == {"u": [1, 1, 0, 0, 0]}


def test_an_id_that_a_list_has_twice_counts_once():
    history = History(entities={"tag": "tags"}, tasks=("click",))
    rows = table_of(
        [row("u", "a", 0, 0, label_click=1.0, tags=["x", "y", "x"]), row("u", "a", 1, 0, tags=["y"])]
    )
    assert by_id(count_rows(rows, 0, history, "tag")) == {"x": [1, 1, 1], "y": [2, 1, 1]}


def test_pairs_of_rows_and_ids_of_a_list_column():
    rows, ids = ids_of_rows(pa.chunked_array([[["x", "y"], None, []], [["x", None, "x"]]]))
    assert rows.tolist() == [0, 0, 3]
    assert ids.to_pylist() == ["x", "y", "x"]
    rows, ids = ids_of_rows(pa.array([7, None, 2**60 + 1]))
    assert rows.tolist() == [0, 2]
    assert ids.to_pylist() == ["7", str(2**60 + 1)]


def test_totals_are_weighted_and_added_up_by_id():
    tables = [count_rows(table_of(rows), span, HISTORY, "user") for span, rows in enumerate(SPANS[:2])]
    assert by_id(add_up(tables, HISTORY, "user")) == {"u1": [3, 3, 2, 0, 0], "u2": [1, 0, 0, 0, 0]}
    weighted = add_up(tables, HISTORY, "user", [0.5, 1.0])
    assert by_id(weighted) == {"u1": [2, 2, 1.5, 0, 0], "u2": [0.5, 0, 0, 0, 0]}


def test_a_sequence_keeps_the_last_items_of_fresh_rows_by_time():
    tables = [count_rows(table_of(rows), span, WITH_ITEMS, "user") for span, rows in enumerate(SPANS[:3])]
    totals = add_up(tables, WITH_ITEMS, "user")
    assert totals["items_recent"].to_pylist() == [["b", "a"], ["a", "b"]]
    hours = [[(time - FIRST_MS) / HOUR_MS for time in times] for times in totals["times_recent"].to_pylist()]
    assert hours == [[1, 10], [2, 12]]


def test_items_are_ordered_by_time_even_if_an_earlier_span_has_the_later_time():
    spans = [[row("u", "late", 5, 0)], [row("u", "early", 3, 1), row("u", "same", 5, 1)]]
    tables = [count_rows(table_of(rows), span, WITH_ITEMS, "user") for span, rows in enumerate(spans)]
    # Of two items of one time, the one of the later row is newer.
    assert add_up(tables, WITH_ITEMS, "user")["items_recent"].to_pylist() == [["late", "same"]]


def test_no_table_adds_up_to_no_row():
    assert add_up([], WITH_ITEMS, "user").num_rows == 0


def test_shards_of_ids_are_fixed():
    # These numbers must never change: files of a running root are found by them.
    assert shards_of_ids(pa.array(["u1", "u2", "u3", "a"]), 4).tolist() == [0, 0, 3, 2]
