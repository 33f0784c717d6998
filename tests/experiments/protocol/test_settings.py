from pathlib import Path

import pytest
import yaml

from eventlog.errors import BadInput
from experiments.protocol.settings import load_protocol, require_spans

CONFIGS = Path(__file__).parents[3] / "experiments" / "configs"


@pytest.mark.parametrize("name", ["kuairand.yaml", "simulator.yaml"])
def test_the_shipped_protocols_load(name):
    protocol, deployment = load_protocol(CONFIGS / name)
    assert protocol.primary.arm == "auxiliary-logit"
    assert deployment.burn_in_spans[-1] < protocol.tuning_spans.start


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": "5:8"}, "tuning 5:8 must end before reporting"),
        ({"tuning": "4:7"}, "expected tuning spans after the burn-in 0:4, got 4:7"),
        ({"sedes": 3}, "sedes"),
        ({"min_positives": 0}, "min_positives must be at least 1, got 0"),
        ({"grid": {"passes": []}}, "passes must have at least one value"),
        ({"grid": {"seeds": 0}}, "seeds must be at least 1, got 0"),
        ({"task_weights": {"clicks": 2.0}}, "expected task_weights of click, .*got clicks"),
        ({"slice_feature": "weather"}, "slice_feature among the deployment's features, got weather"),
        (
            {"primary": {"endpoints": [{"task": "clicks", "metric": "auc"}]}},
            "expected endpoints among click, .*got clicks",
        ),
    ],
)
def test_a_faulty_protocol_raises_with_one_line(tmp_path, changes, message):
    document = yaml.safe_load((CONFIGS / "kuairand.yaml").read_text()) | changes
    document["deployment"] = str(CONFIGS / document["deployment"])
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(BadInput, match=message):
        load_protocol(tmp_path / "faulty.yaml")


def test_task_weights_of_the_protocol_replace_those_of_the_deployment(tmp_path):
    document = yaml.safe_load((CONFIGS / "kuairand.yaml").read_text()) | {"task_weights": {"ltv": 0.25}}
    document["deployment"] = str(CONFIGS / document["deployment"])
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(document))
    _, deployment = load_protocol(tmp_path / "protocol.yaml")
    assert (deployment.tasks["ltv"].weight, deployment.tasks["click"].weight) == (0.25, 1.0)


def test_a_log_that_ends_before_the_last_reporting_span_raises():
    protocol, _ = load_protocol(CONFIGS / "kuairand.yaml")
    last = protocol.reporting_spans[-1]
    require_spans(protocol, last, Path("log"))
    with pytest.raises(BadInput, match=rf"log: the event log is too short: .*got spans up to {last - 1}\."):
        require_spans(protocol, last - 1, Path("log"))


def test_a_missing_protocol_raises(tmp_path):
    with pytest.raises(BadInput, match="got no file"):
        load_protocol(tmp_path / "none.yaml")
