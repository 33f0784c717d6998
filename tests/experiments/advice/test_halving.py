from experiments.advice.candidates import Candidate, candidates
from experiments.advice.halving import halve


def means(scores):
    return {one: sum(found) / len(found) for one, found in scores.items()}


class Clock:
    """A second a measurement."""

    def __init__(self, budget):
        self.now, self.budget, self.asked = 0.0, budget, []

    def measure(self, pairs):
        self.asked.append(list(pairs))
        self.now += len(pairs)
        # With seed 0 `b` is flattered; over more seeds `c` is best.
        worth = {"a": 0.0, "b": 1.0, "c": 2.0, "d": -1.0}
        return [worth[name] + (5.0 if (name, seed) == ("b", 0) else 0.0) for name, seed in pairs]

    def run(self):
        return halve(list("abcd"), self.measure, means, len, lambda: self.budget - self.now, lambda: self.now)


def test_half_go_on_with_twice_the_seeds_until_one_is_left():
    clock = Clock(100)
    rungs = clock.run()
    assert clock.asked[0] == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]
    # The first candidate, what would be done without advice, takes the place of the second best.
    assert clock.asked[1] == [("b", 1), ("a", 1)]
    assert clock.asked[2] == [("b", 2), ("b", 3)]
    assert list(rungs[-1].scores) == ["b"]
    assert [len(rung.scores) for rung in rungs] == [4, 2, 1]


def test_the_budget_ends_it_and_the_first_round_always_takes_place():
    clock = Clock(0)
    rungs = clock.run()
    assert len(rungs) == 1 and len(clock.asked) == 1
    # Four scores, then two, then two more: a round begins where what it asks fits into what is left.
    assert [len(Clock(budget).run()) for budget in (5, 6, 7, 8)] == [1, 2, 2, 3]


def test_the_papers_advice_is_the_first_candidate():
    every = candidates()
    assert every[0] == Candidate(2.0, "pet+pst", "auxiliary", 1.0)
    assert len(set(every)) == len(every) == 36
