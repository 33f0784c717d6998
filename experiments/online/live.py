"""A simulated live experiment: models learn the world's log, and each ranks the same visits before a span.

Every visitor is seen under every policy, with common random numbers: two policies differ by their choices
alone. What a real experiment could not do halves no interval here; that is what the A/A runs are for, in
which the same policy meets the same visitors with other luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eventlog.simulator import Visits, World, simulate, simulated_visits
from eventlog.simulator.outcomes import DRAWS
from experiments.online.effects import MEASURES, Change, change, mean_changes, measured
from experiments.online.policies import RANKING, scores_of, train_arms
from experiments.online.slates import slates
from experiments.trials.progress import ExperimentProgress
from experiments.trials.schedule import Schedule
from experiments.trials.stream import Stream
from experiments.trials.trial_result import Outcome
from pipeline.config import Deployment

Array = Any


@dataclass(frozen=True)
class Setting:
    """The size of a live experiment.

    Attributes:
        spans: of the log; visits are ranked on those behind the first that students learn.
        examples_per_span: impressions that the models learn.
        visits: of each span.
        candidates: of each visit.
        slots: places a visit has.
        world_seed: chooses the world.
        ranking: see `experiments.online.policies.RANKING`.
    """

    spans: int = 10
    examples_per_span: int = 6000
    visits: int = 2000
    candidates: int = 20
    slots: int = 5
    world_seed: int = 1
    ranking: tuple[tuple[str, float], ...] = RANKING


@dataclass(frozen=True)
class Policy:
    """What one trained model would show, span by span.

    Attributes:
        shown: by span, `[visits x slots]` indices into the span's candidates.
        positions: by span, the same shape.
    """

    shown: Mapping[int, Array]
    positions: Mapping[int, Array]


class LiveExperiment:
    """Visits, and what follows from what is shown in them.

    Args:
        visits: by span.
        candidates: of each visit.
        slots: places a visit has.
    """

    def __init__(self, visits: Sequence[Visits], candidates: int, slots: int) -> None:
        self._visits = {of_span.span: of_span for of_span in visits}
        self._candidates = candidates
        self._slots = slots
        self._num_users = 1 + max(int(of_span.users.max()) for of_span in visits)
        came = np.zeros(self._num_users, bool)
        for of_span in visits:
            came[of_span.users] = True
        self._came = came

    def policy(self, scores: Mapping[int, Array]) -> Policy:
        """Ranks every visit by `[visits x candidates]` scores."""
        ranked = {span: slates(of_span, self._candidates, self._slots) for span, of_span in scores.items()}
        return Policy(
            {span: shown for span, (shown, _) in ranked.items()},
            {span: positions for span, (_, positions) in ranked.items()},
        )

    def totals(self, policy: Policy, luck: int) -> dict[str, Array]:
        """What every visitor does under a policy.

        Args:
            policy: what is shown.
            luck: seed of the random numbers; equal luck is common to all policies.

        Returns:
            By measure, `[visitors]` float64.
        """
        totals = {measure: np.zeros(self._num_users) for measure in MEASURES}
        for span, visits in self._visits.items():
            random = np.random.default_rng((luck, span))
            uniforms = random.random((DRAWS, visits.table.num_rows), dtype=np.float32)
            shown = policy.shown[span]
            users = visits.users[shown // self._candidates]
            happened = visits.outcomes(shown, policy.positions[span], uniforms)
            for measure, values in measured(happened).items():
                totals[measure] += np.bincount(users, weights=values, minlength=self._num_users)
        return {measure: values[self._came] for measure, values in totals.items()}


def run_live(
    deployment: Deployment,
    setting: Setting,
    arms: Sequence[str],
    out: Path,
    *,
    seeds: int,
    processes: int,
    progress: ExperimentProgress,
) -> tuple[LiveExperiment, dict[str, list[Policy]]]:
    """Simulates the world, trains the arms and lets each rank.

    Returns:
        The experiment, and by arm a policy a seed.
    """
    from experiments.trials.loading import load_stream

    log = out / f"log-{setting.world_seed}-{setting.spans}x{setting.examples_per_span}"
    simulate(log, setting.spans, setting.examples_per_span, setting.world_seed)
    ranked = range(deployment.burn_in_spans[-1] + 2, setting.spans)
    visits = [of_span for of_span in _visits(setting) if of_span.span in ranked]
    candidates = {of_span.span: of_span.table for of_span in visits}
    progress.say(f"ranking {setting.visits} visits on each of spans {ranked[0]} to {ranked[-1]}")
    folder = load_stream(deployment, log, out / "streams", candidates)

    with Schedule(folder, out / "trials", processes, progress.on_done) as schedule:
        outcomes = train_arms(deployment, schedule, arms, seeds, setting.spans - 1)
    experiment = LiveExperiment(visits, setting.candidates, setting.slots)
    return experiment, {
        arm: [
            experiment.policy(_scores(schedule.stream, kept, candidates, setting.ranking)) for kept in of_arm
        ]
        for arm, of_arm in outcomes.items()
    }


def changes(
    experiment: LiveExperiment, policies: Sequence[Policy], controls: Sequence[Policy], luck: int
) -> dict[str, Change]:
    """The change by measure; see `mean_changes`."""
    return mean_changes(
        [
            (experiment.totals(policy, luck), experiment.totals(control, luck))
            for policy, control in zip(policies, controls, strict=True)
        ]
    )


def same_policy(
    experiment: LiveExperiment, policy: Policy, runs: int, effect: float = 0.0
) -> dict[str, list[Change]]:
    """A/A runs: a policy against itself with other luck, or against itself made better by a known effect.

    Args:
        experiment: the visits.
        policy: what is shown.
        runs: how many.
        effect: what the measures of the first are raised by; 0.01 is one per cent.
    """
    found: dict[str, list[Change]] = {measure: [] for measure in MEASURES}
    for run in range(runs):
        first, second = (experiment.totals(policy, luck) for luck in (2 * run + 1, 2 * run + 2))
        for measure in MEASURES:
            found[measure].append(change(first[measure] * (1 + effect), second[measure]))
    return found


def _visits(setting: Setting) -> list[Visits]:
    found = []
    for of_span in simulated_visits(
        World(), setting.examples_per_span, setting.world_seed,
        visits=setting.visits, candidates=setting.candidates,
    ):  # fmt: skip
        if of_span.span == setting.spans:
            break
        found.append(of_span)
    return found


def _scores(
    stream: Stream, kept: Outcome, candidates: Mapping[int, Any], ranking: Sequence[tuple[str, float]]
) -> dict[int, Array]:
    """By span the scores of its candidates, which lie behind its impressions."""
    worth = scores_of(kept, ranking)
    scores = {}
    for span, table in candidates.items():
        of_span = np.flatnonzero(stream.spans[kept.rows] == span)
        scores[span] = worth[of_span[-table.num_rows :]]
    return scores
