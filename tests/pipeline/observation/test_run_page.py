import re

import pytest


@pytest.fixture(scope="module")
def page(finished_run, small_config):
    from pipeline.config_file import load_deployment
    from pipeline.observation.run_page import run_page
    from pipeline.observation.summary import summarize

    deployment = load_deployment(small_config)
    return run_page(deployment, finished_run, summarize(deployment, finished_run))


def section(page, heading):
    return page.split(f"<h2>{heading}</h2>")[1].split("<h2>")[0]


@pytest.mark.parametrize("surface", ["tab_1", "tab_0"])
def test_every_surface_has_a_table_and_a_chart_of_gains(page, surface):
    text = section(page, f"Surface {surface}")
    assert "watch_time" in text and "student - control" in text
    assert f"{surface}: gain from distillation" in text


def test_a_task_with_few_positives_has_their_number_instead_of_figures(page):
    row = section(page, "Surface tab_0").split("<td>comment</td>")[1].split("</tr>")[0]
    assert re.search(r"<td>auc</td><td>-</td><td>-</td><td>-</td><td>too few positives: \d+</td>", row)


@pytest.mark.parametrize("surface", ["tab_1", "tab_0"])
def test_every_surface_has_the_roles_and_the_difference_by_span(page, surface):
    text = section(page, f"Surface {surface}")
    for task, metric in (("click", "auc"), ("watch_time", "rmse")):
        drawing = text.split(f"<figcaption>{surface}, {task}: {metric} by span</figcaption>")[1].split(
            "</svg>"
        )[0]
        assert all(f">{role}<" in drawing for role in ("teacher", "student", "control"))
        assert f"{surface}, {task}: {metric}, student - control by span" in text
    assert "like: auc by span" not in text, "one task of each kind"


def test_labels_and_costs_are_listed(page):
    labels = section(page, "Labels")
    rows = re.findall(r"<tr><td>[^<]+</td><td>(\d+)</td><td>(\d+)</td>", labels)
    assert sorted(int(span) for span, _ in rows) == [2, 3, 4, 5]
    assert all(int(num_rows) == 1500 for _, num_rows in rows)
    assert labels.count("<svg") == 2
    cost = section(page, "Cost")
    assert "as the fleet grows" in cost and "Trainer_teacher" in cost


def test_every_surface_has_a_calibration_chart(page):
    assert section(page, "Calibration").count("<svg") == 2
