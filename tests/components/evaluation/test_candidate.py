import numpy as np
import pytest

from components.evaluation.candidate import candidate_verdict
from models.tasks import Task

CLICK = {"click": Task(kind="binary", group="pet")}
WATCH = {"watch": Task(kind="regression", group="pet", unit="seconds", scale="log1p")}
LABELS = np.tile([1.0, 0.0], 100)


def predicting(probability):
    """Predictions that give the label of each row this probability."""
    return {"click": np.where(LABELS > 0, probability, 1 - probability).astype(np.float32)}


def test_a_first_model_is_blessed_when_it_is_finite():
    verdict = candidate_verdict({"click": LABELS}, predicting(0.5), None, CLICK, margin=0.0)
    assert verdict.blessed
    assert verdict.reason == "all predictions are finite, and there is no predecessor"
    # One half everywhere equals the best constant prediction.
    assert verdict.candidate_loss == pytest.approx(1.0)
    assert verdict.predecessor_loss is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("predecessor", [None, predicting(0.5)])
def test_a_prediction_that_is_not_finite_discards_the_candidate(value, predecessor):
    candidate = predicting(0.9)
    candidate["click"][7] = value
    verdict = candidate_verdict({"click": LABELS}, candidate, predecessor, CLICK, margin=0.5)
    assert not verdict.blessed
    assert verdict.reason == "predictions of click are not finite"


def test_a_prediction_that_is_not_finite_at_a_masked_label_discards_the_candidate():
    labels, candidate = LABELS.copy(), predicting(0.9)
    labels[7] = candidate["click"][7] = np.nan
    assert not candidate_verdict({"click": labels}, candidate, None, CLICK, margin=0.5).blessed


def test_a_predecessor_that_is_not_finite_is_replaced():
    verdict = candidate_verdict({"click": LABELS}, predicting(0.6), predicting(np.nan), CLICK, margin=0.0)
    assert verdict.blessed
    assert verdict.reason == "all predictions are finite, unlike those of the predecessor"
    assert verdict.predecessor_loss is None


def test_a_better_candidate_is_blessed():
    verdict = candidate_verdict({"click": LABELS}, predicting(0.8), predicting(0.7), CLICK, margin=0.0)
    assert verdict.blessed
    assert verdict.candidate_loss == pytest.approx(np.log(0.8) / np.log(0.5), rel=1e-5)
    assert verdict.predecessor_losses["click"] == pytest.approx(np.log(0.7) / np.log(0.5), rel=1e-5)


def test_worse_within_the_margin_is_blessed_and_beyond_it_is_not():
    # ln .7 / ln .8 = 1.5984: the candidate is 60 % worse.
    inside = candidate_verdict({"click": LABELS}, predicting(0.7), predicting(0.8), CLICK, margin=0.61)
    beyond = candidate_verdict({"click": LABELS}, predicting(0.7), predicting(0.8), CLICK, margin=0.59)
    assert inside.blessed
    assert not beyond.blessed
    assert "0.5146, predecessor 0.3219: worse than the limit 0.5119" in beyond.reason


def test_relative_losses_of_tasks_are_averaged():
    seconds = np.expm1(np.tile([0.0, 2.0], 100))
    candidate = predicting(0.5) | {"watch": np.tile([0.5, 1.5], 100)}
    labels = {"click": LABELS, "watch": seconds}
    verdict = candidate_verdict(labels, candidate, None, CLICK | WATCH, margin=0.0)
    # Squared error 1/4 over the variance 1 on the log1p scale.
    assert verdict.candidate_losses == pytest.approx({"click": 1.0, "watch": 0.25})
    assert verdict.candidate_loss == pytest.approx(0.625)


def test_a_task_with_too_few_labels_does_not_count():
    labels = LABELS.copy()
    labels[np.flatnonzero(labels > 0)[49:]] = np.nan  # 49 positives are left
    verdict = candidate_verdict({"click": labels}, predicting(0.1), predicting(0.9), CLICK, margin=0.0)
    assert verdict.blessed
    assert verdict.reason.startswith(
        "all predictions are finite, but no task has 50 labels (binary: 50 of each"
    )
    labels[np.flatnonzero(np.isnan(labels))[0]] = 1.0
    assert not candidate_verdict(
        {"click": labels}, predicting(0.1), predicting(0.9), CLICK, margin=0.0
    ).blessed


def test_a_regression_with_constant_labels_does_not_count():
    same = {"watch": np.full(100, 3.0)}
    verdict = candidate_verdict(same, {"watch": np.ones(100)}, {"watch": np.zeros(100)}, WATCH, margin=0.0)
    assert verdict.blessed
    assert verdict.candidate_losses == {}
