import numpy as np
import pytest

from experiments.advice.pooling import pool_scores
from experiments.advice.proposals import Proposal, proposals

OUTLIER = Proposal(1.0, "pet", "auxiliary", 1.0)


def true_gain(proposal):
    """Additive in the settings, except for one proposal that is better than its settings explain."""
    return (
        0.01 * (proposal.strategy == "direct") - 0.02 * (proposal.width == 4.0) + 0.03 * (proposal == OUTLIER)
    )


def noisy_scores(seeds, noise, seed=0):
    random = np.random.default_rng(seed)
    control_error = random.normal(scale=0.05, size=seeds)
    return {
        proposal: tuple(true_gain(proposal) + control_error + random.normal(scale=noise, size=seeds))
        for proposal in proposals()
    }


def error(estimates):
    """Error of the differences between proposals; the controls' error is common to all."""
    return np.std([estimates[proposal] - true_gain(proposal) for proposal in proposals()])


@pytest.mark.parametrize("seeds", [1, 2])
def test_pooling_improves_estimates_from_few_seeds(seeds):
    num_better = 0
    for seed in range(20):
        scores = noisy_scores(seeds, noise=0.02, seed=seed)
        means = {proposal: np.mean(values) for proposal, values in scores.items()}
        num_better += error(pool_scores(scores)) < error(means)
    assert num_better >= 18


def test_many_seeds_keep_the_deviation_of_one_proposal():
    estimates = pool_scores(noisy_scores(16, noise=0.002))
    assert max(estimates, key=estimates.get) == OUTLIER
    assert error(estimates) < 0.002


def test_proposals_with_different_seeds_are_comparable_despite_the_error_of_the_controls():
    scores = noisy_scores(4, noise=0.0)
    mixed = {
        proposal: values if index % 2 else values[:1]
        for index, (proposal, values) in enumerate(scores.items())
    }
    assert error(pool_scores(mixed)) < 0.003


def test_two_proposals_keep_their_means():
    scores = {Proposal(2.0, "pet", "direct", 1.0): (0.1,), Proposal(4.0, "all", "auxiliary", 4.0): (0.3,)}
    assert list(pool_scores(scores).values()) == pytest.approx([0.1, 0.3])
