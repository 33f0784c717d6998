import re

from components.evaluation.drawings import GREEN, ORANGE, Bar, interval_chart, line_chart


def test_a_smaller_error_is_drawn_as_better():
    bars = [Bar("a", -1, -2, -0.5)]
    assert GREEN in interval_chart("error", bars, lower_is_better=True).svg
    assert ORANGE in interval_chart("auc", bars).svg


def test_charts_of_one_page_have_different_ids():
    drawings = [
        interval_chart("one", [Bar("a", 1, 0, 2)]),
        interval_chart("two", [Bar("a", 1, 0, 2)]),
        line_chart("three", {"a": ([0, 1], [0, 1])}, x="x", y="y", diagonal=True),
    ]
    ids = [
        set(re.findall(r'id="([^"]+)"', drawing.svg)) & set(re.findall(r"url\(#([^)]+)\)", drawing.svg))
        for drawing in drawings
    ]
    assert all(ids) and not ids[0] & ids[1] and not ids[1] & ids[2]
