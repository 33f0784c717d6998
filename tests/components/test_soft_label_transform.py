"""SoftLabelTransform applies a surface's policy exactly when its soft labels cannot be used."""

import pytest
from tfx.types import standard_artifacts

from components.label_store.resolving import LabelSource
from components.label_store.schemes import open_store
from components.soft_label_transform import SoftLabelTransformExecutor
from components.transforms.join_report import read_join_report
from components.transforms.join_settings import JoinSettings
from eventlog.errors import BadInput
from models.settings import to_json
from models.tasks import Task
from tests.components.transforms.test_join_labels import OPTIONS, SPAN_3, publish, soft_labels, write_examples

TASKS = {
    "click": Task(kind="binary", group="pet"),
    "ltv": Task(kind="regression", group="other", unit="seconds", scale="log1p", delay=3),
}


@pytest.fixture
def uri(tmp_path):
    return f"delta:{tmp_path}/labels"


@pytest.fixture
def join(tmp_path, uri):
    """Joins surface `feed` of span 3, where two of four fresh examples have a label."""
    examples, joined = standard_artifacts.Examples(), standard_artifacts.Examples()
    examples.uri, joined.uri = write_examples(tmp_path / "examples"), str(tmp_path / "joined")

    def run(without_labels, floor=0.9, source=LabelSource(teacher="big"), first_spans=None):  # noqa: B008 - frozen
        settings = JoinSettings(
            fleet="students",
            source=source,
            tasks=TASKS,
            coverage_floor=floor,
            without_labels=without_labels,
            first_spans=first_spans,
        )
        properties = {"store": uri, "span": 3, "surface": "feed", "settings": to_json(settings)}
        context = SoftLabelTransformExecutor.Context(
            beam_pipeline_args=OPTIONS, tmp_dir=str(tmp_path), unique_id="scratch"
        )
        SoftLabelTransformExecutor(context).Do({"examples": [examples]}, {"joined": [joined]}, properties)
        return joined, properties, read_join_report(joined.uri)

    return run


def labelled(joined):
    return sorted(name for name, (click, *_) in soft_labels(joined.uri, "train").items() if click is not None)


@pytest.mark.parametrize("policy", ["stop", "hard-only", "last"])
def test_enough_labels_are_joined_whatever_the_policy(join, uri, policy):
    set_id = publish(uri, 3, SPAN_3)
    joined, properties, report = join(policy, floor=0.5)

    assert (report.decision, report.reason, properties["label_set"]) == ("joined", "", set_id)
    assert labelled(joined) == ["a", "b"]
    assert joined.get_string_custom_property("decision") == "joined"


def test_too_few_labels_stop_the_surface(join, uri):
    publish(uri, 3, SPAN_3)
    with pytest.raises(BadInput, match=r"surface feed: too few .* coverage of at least 0\.9000, got 0\.5000"):
        join("stop")


def test_no_label_set_stops_the_surface(join):
    with pytest.raises(BadInput, match="label store, span 3: no label set: expected a set of teacher 'big'"):
        join("stop")


def test_labels_of_too_old_a_teacher_stop_the_surface(join, uri):
    publish(uri, 3, SPAN_3)
    with pytest.raises(BadInput, match="labels are too old: expected a label age of at most 0 spans"):
        join("stop", floor=0.5, source=LabelSource(teacher="big", max_age_spans=0))


def test_hard_only_ignores_the_few_labels_of_the_span(join, uri):
    set_id = publish(uri, 3, SPAN_3)
    joined, properties, report = join("hard-only")

    assert (report.decision, report.fresh_rows, report.labelled_fresh_rows) == ("hard-only", 4, 0)
    assert "too few examples have a soft label" in report.reason
    assert labelled(joined) == []
    assert len(soft_labels(joined.uri, "train")) == 3
    assert properties["label_set"] == set_id == open_store(uri).read_pin("students", 3)
    assert joined.get_string_custom_property("label_sets") == "[]"


def test_burn_in_spans_of_a_surface_are_exempt_from_its_policy(join):
    assert join("last", first_spans="2:3")[2].decision == "hard-only"
    assert join("last", first_spans="4:5")[2].decision == "last"
    with pytest.raises(BadInput, match="no label set"):
        join("stop", first_spans="1:2")


@pytest.mark.parametrize("policy", ["hard-only", "last"])
def test_without_a_set_a_surface_applies_its_policy_and_pins_nothing(join, uri, policy):
    joined, properties, report = join(policy)

    assert (report.decision, properties["label_set"]) == (policy, "")
    assert "no label set" in report.reason
    assert len(soft_labels(joined.uri, "train")) == (3 if policy == "hard-only" else 0)
    assert report.fresh_rows == 4
    assert open_store(uri).read_pin("students", 3) is None
