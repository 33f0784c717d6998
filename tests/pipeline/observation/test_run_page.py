"""Parts of the page that need no finished span; tests/e2e/test_run.py checks the page of a whole run."""

import pytest

from pipeline.observation.run_page import run_page


@pytest.fixture
def page(run):
    """Renders the page of a run without finished spans; the arguments replace parts of its summary."""
    empty = {"spans": [], "surfaces": {}, "label_sets": [], "seconds": {}}
    return lambda **parts: run_page(run.deployment, run.paths, empty | parts)


def test_a_task_without_figures_has_the_metric_of_its_kind(page):
    text = page(surfaces={"tab_1": {"tasks": {"click": {}, "watch_time": {}}}})
    assert "<td>click</td><td>auc</td>" in text
    assert "<td>watch_time</td><td>rmse</td>" in text


def test_label_sets_are_drawn_in_the_order_of_spans(page):
    five, six, seven = (
        {"id": f"set-{span}", "span": span, "rows": 9, "lag_seconds": 2.0 * span, "age_spans": 1}
        for span in (5, 6, 7)
    )
    assert page(label_sets=[five, seven, six]) == page(label_sets=[five, six, seven])


def test_the_cost_is_drawn_by_number_of_students(page):
    text = page(seconds={"Trainer_teacher": 4.0, "Trainer_student_tab_1": 1.0})
    assert "Seconds per span and student, by number of students" in text
