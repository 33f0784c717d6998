import re

from components.evaluation.drawings import GREEN, ORANGE, Bar, interval_chart, line_chart, span_chart


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


def test_a_chart_by_span_has_a_tick_for_whole_spans_only():
    bars = {5: Bar("5", 0.1, 0.0, 0.2), 6: Bar("6", 0.2, 0.1, 0.3)}
    ticks = re.findall(r">([0-9.]+)</text>", span_chart("gain", bars, y="difference").svg)
    assert {"5", "6"} <= set(ticks) and "5.4" not in ticks
    for spans, has_fraction in (([5, 6], False), ([5.0, 6.0], True)):
        chart = line_chart("c", {"teacher": (spans, [0.7, 0.8])}, x="span", y="auc")
        assert ("5.4" in re.findall(r">([0-9.]+)</text>", chart.svg)) == has_fraction
