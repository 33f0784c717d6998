import re

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def page(finished_run, small_config):
    from experiments.report.run_page import run_page
    from pipeline.config_file import load_deployment

    return run_page(load_deployment(small_config), finished_run)


def test_a_run_tells_what_distillation_gave_each_surface(page):
    for surface in ("tab_1", "tab_0"):
        section = page.split(f"<h2>Surface {surface}</h2>")[1].split("<h2>")[0]
        assert "watch_time" in section and "student - control" in section
        assert f"{surface}: what distillation gained" in section


def test_labels_and_costs_are_told_span_by_span(page):
    labels = page.split("<h2>Labels</h2>")[1].split("<h2>")[0]
    rows = re.findall(r"<tr><td>[^<]+</td><td>(\d+)</td><td>(\d+)</td>", labels)
    assert sorted(int(span) for span, _ in rows) == [2, 3, 4, 5, 6]
    assert all(int(count) == 1500 for _, count in rows)
    assert labels.count("<svg") == 2
    cost = page.split("<h2>Cost</h2>")[1]
    assert "as the fleet grows" in cost and "Trainer_teacher" in cost


def test_calibration_is_drawn_for_every_surface(page):
    assert page.split("<h2>Calibration</h2>")[1].split("<h2>")[0].count("<svg") == 2
