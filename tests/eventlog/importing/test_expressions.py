from pathlib import Path

import pytest

from eventlog.errors import BadInput
from eventlog.tables.mapping import FeatureSettings, LabelSettings, TimeSettings, Window
from tests.eventlog.importing.tables import column, line, mapping, run, write_lines


def feature(value: str) -> dict[str, FeatureSettings]:
    return {"f": FeatureSettings(value=value, type="text")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "u.data", [line(1, "a", 4, 0)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ratng", r"features\.f\.value: unknown column: .* got 'ratng'\. Did you mean 'rating'\?"),
        ("items.title", "unknown column: .* got 'items.title'"),
        ("(SELECT 1)", "expression not allowed: .* got subquery"),
        ("item IN (SELECT content FROM read_text('/etc/passwd'))", "not allowed: .* got subquery"),
        ("item FROM read_text('/etc/passwd')", "not an expression"),
        ("item) FROM (SELECT 1", "not an expression"),
        ("item; ATTACH 'x'", "not an expression"),
        ("item AS other", "not an expression"),
        ("item, rating", "not an expression"),
        ("DISTINCT item", "not an expression"),
        ("*", "expression not allowed: .* got star"),
        ("$1", "not an expression"),
        ("row_number() OVER ()", "expression not allowed: .* got window"),
        ("random()", r"function random is not available: .* depends only on its arguments"),
        ("now()", "function now is not available"),
        ("current_date", "unknown column"),
        ("age(to_timestamp(seconds)::TIMESTAMP)", "function age is not available"),
        ("current_localtime()", "function current_localtime is not available"),
        ("version()", "function version is not available"),
        ("getvariable('x')", "function getvariable is not available"),
        ("current_setting('memory_limit')", "function current_setting is not available"),
        ("lowr(item)", r"function lowr is not available: .* Did you mean 'lower'\?"),
        ("sum(rating)", "aggregate sum: .* Sums and other aggregates need `over`"),
        (
            "item >= 4",
            r"wrong expression: .* Columns of text files are text unless `columns` gives their types",
        ),
        ("[item]", r"wrong type: expected one value, got VARCHAR\[\]"),
        ("", "not an expression"),
        ("item -- a comment\n) FROM (SELECT 1", "not an expression"),
    ],
)
def test_an_expression_that_is_wrong_or_reaches_out_is_refused(
    source: Path, tmp_path: Path, value: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        run(mapping(features=feature(value)), source, tmp_path / "log")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("item -- a comment", "a"),
        ("source.ITEM", "a"),
        ("CASE WHEN rating BETWEEN 1 AND 4 THEN 'it''s' END", "it's"),
        ("list_transform([item], lambda word: word || '!')[1]", "a!"),
        ("nullif(item, 'b')", "a"),
        ("{'x': item}.x", "a"),
        ("item::VARCHAR || rating", "a4"),
    ],
)
def test_an_expression_over_the_columns_is_computed(
    source: Path, tmp_path: Path, value: str, expected: str
) -> None:
    run(mapping(features=feature(value)), source, tmp_path / "log")
    assert column(tmp_path / "log", 0, "f") == [expected]


def test_an_error_in_one_row_drops_that_row_only(tmp_path: Path) -> None:
    # The two expressions share a part, which DuckDB may not compute once outside of TRY.
    lines = [line(1, item, rating, 0) for item, rating in (("a", 1), ("b", 2), ("c", 0))]
    source = write_lines(tmp_path / "u.data", lines)
    features = {
        "f": FeatureSettings(value="ln(rating)", type="number"),
        "g": FeatureSettings(value="ln(rating) > 0.5", type="number"),
    }
    _, report = run(mapping(features=features, max_dropped=0.4), source, tmp_path / "log")
    assert report[1] == "  1 rows: features.f.value: cannot be computed, or does not fit its type"
    assert column(tmp_path / "log", 0, "f") == [0.0, pytest.approx(0.6931472)]
    assert column(tmp_path / "log", 0, "g") == [0.0, 1.0]


def test_a_column_outside_the_aggregate_of_a_window_is_refused(source: Path, tmp_path: Path) -> None:
    labels = {"sum": LabelSettings(value="sum(rating) + rating", over=Window(spans=1, per="user"))}
    with pytest.raises(
        BadInput, match=r"labels\.sum\.value: wrong expression: .* must appear in the GROUP BY"
    ):
        run(mapping(labels=labels), source, tmp_path / "log")


def test_the_key_of_a_faulty_expression_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mapping\.yaml: time\.value: unknown column"):
        run(mapping(time=TimeSettings(value="second", unit="s")), source, tmp_path / "log")
    with pytest.raises(BadInput, match=r"mapping\.yaml: surface: unknown column"):
        run(mapping(surface="list"), source, tmp_path / "log")
    with pytest.raises(BadInput, match=r"example_id: unknown column: .* Did you mean 'user'"):
        run(mapping(example_id=("usr",)), source, tmp_path / "log")
