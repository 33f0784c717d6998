"""The Grafana dashboard shows every metric of the loop, and no other."""

import json
import re

import pytest

from tests.conftest import REPOSITORY

DASHBOARD = json.loads((REPOSITORY / "docs" / "grafana.json").read_text())


@pytest.fixture
def expressions():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture
def written(tmp_path):
    """Metric → names of its labels, also of metrics without a value."""
    from pipeline.observation.metrics import LoopMetrics
    from tests.pipeline.conftest import Run

    run = Run(tmp_path)
    families = LoopMetrics(run.deployment, run.paths).collect()
    return {
        family.name + ("_total" if family.type == "counter" else ""): set(family._labelnames)
        for family in families
    }


def test_every_metric_has_a_panel_and_every_panel_a_metric(expressions, written):
    shown = {name for expression in expressions for name in re.findall(r"rankdistill_\w+", expression)}
    assert shown == set(written)


def test_selectors_and_legends_use_labels_that_the_metrics_have(written):
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            (name,) = re.findall(r"rankdistill_\w+", target["expr"])
            used = re.findall(r"{(\w+)=~", target["expr"]) + re.findall(r"{{(\w+)}}", target["legendFormat"])
            assert set(used) <= written[name], panel["title"]
    for variable in DASHBOARD["templating"]["list"][1:]:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()
        assert label in written[name] and label == variable["name"]


def test_panels_do_not_overlap():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
