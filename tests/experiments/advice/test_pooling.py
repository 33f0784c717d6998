import numpy as np
import pytest

from experiments.advice.candidates import Candidate, candidates
from experiments.advice.pooling import pooled


def truth(one):
    """Settings that add up, and one candidate that is better than its like."""
    return (
        0.01 * (one.strategy == "direct")
        - 0.02 * (one.width == 4.0)
        + 0.03 * (one == Candidate(1.0, "pet", "auxiliary", 1.0))
    )


def noisy(seeds, noise, seed=0):
    random = np.random.default_rng(seed)
    luck = random.normal(scale=0.05, size=seeds)
    return {one: tuple(truth(one) + luck + random.normal(scale=noise, size=seeds)) for one in candidates()}


def error(found):
    """Of differences between candidates: what all share is the controls' luck."""
    wrong = np.array([found[one] - truth(one) for one in candidates()])
    return wrong.std()


@pytest.mark.parametrize("seeds", [1, 2])
def test_its_like_makes_a_candidate_s_estimate_better(seeds):
    better = 0
    for seed in range(20):
        scores = noisy(seeds, noise=0.02, seed=seed)
        better += error(pooled(scores)) < error({one: np.mean(own) for one, own in scores.items()})
    assert better >= 18


def test_what_many_seeds_show_of_a_candidate_alone_stays():
    found = pooled(noisy(16, noise=0.002))
    assert max(found, key=found.get) == Candidate(1.0, "pet", "auxiliary", 1.0)
    assert error(found) < 0.002


def test_candidates_with_more_seeds_are_not_judged_by_the_luck_of_their_controls():
    scores = noisy(4, noise=0.0)
    # Half of them have one seed alone, whose control was lucky.
    few = {one: own if place % 2 else (own[0],) for place, (one, own) in enumerate(scores.items())}
    assert error(pooled(few)) < 0.003


def test_few_candidates_keep_their_own_means():
    few = {Candidate(2.0, "pet", "direct", 1.0): (0.1,), Candidate(4.0, "all", "auxiliary", 4.0): (0.3,)}
    assert list(pooled(few).values()) == pytest.approx([0.1, 0.3])
