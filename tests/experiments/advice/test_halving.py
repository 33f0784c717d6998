import pytest

from experiments.advice.halving import halve
from experiments.advice.proposals import Proposal, proposals


def means(scores):
    return {proposal: sum(values) / len(values) for proposal, values in scores.items()}


class Search:
    """Scores the proposals a to d; every score takes a second."""

    def __init__(self, budget, proposals="abcd"):
        self.seconds, self.budget, self.rounds, self.proposals = 0.0, budget, [], list(proposals)

    def measure(self, pairs):
        self.rounds.append(list(pairs))
        self.seconds += len(pairs)
        # Seed 0 overestimates `b`; with more seeds `c` would be the best.
        means = {"a": 0.0, "b": 1.0, "c": 2.0, "d": -1.0}
        return [means[name] + (5.0 if (name, seed) == ("b", 0) else 0.0) for name, seed in pairs]

    def run(self):
        return halve(
            self.proposals, self.measure, means, len, lambda: self.budget - self.seconds, lambda: self.seconds
        )


def test_each_round_keeps_half_and_doubles_the_seeds():
    search = Search(budget=100)
    rounds = search.run()
    assert search.rounds[0] == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]
    # The first proposal is the paper's advice, so it replaces the second best.
    assert search.rounds[1] == [("b", 1), ("a", 1)]
    assert search.rounds[2] == [("b", 2), ("b", 3)]
    assert list(rounds[-1].scores) == ["b"]
    assert [len(search_round.scores) for search_round in rounds] == [4, 2, 1]


@pytest.mark.parametrize(
    ("proposals", "kept"), [("ab", ["b", "a"]), ("abc", ["b", "a"]), ("bac", ["b"]), ("ba", ["b"])]
)
def test_the_first_of_two_or_three_proposals_does_not_replace_the_best(proposals, kept):
    search = Search(budget=100, proposals=proposals)
    rounds = search.run()
    assert search.rounds[1] == [(proposal, 1) for proposal in kept]
    assert list(rounds[-1].scores) == ["b"]


def test_the_search_ends_with_the_budget_but_always_runs_the_first_round():
    search = Search(budget=0)
    rounds = search.run()
    assert len(rounds) == 1 and len(search.rounds) == 1
    # The rounds need four, two and two seconds; a round starts only if the rest of the budget suffices.
    assert [len(Search(budget).run()) for budget in (5, 6, 7, 8)] == [1, 2, 2, 3]


def test_the_papers_advice_is_the_first_proposal():
    assert proposals()[0] == Proposal(2.0, "pet+pst", "auxiliary", 1.0)
    assert len(set(proposals())) == len(proposals()) == 36
