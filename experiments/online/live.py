"""Simulates a live experiment: models train on a simulated log, and all rank the same visits of each span.

Every policy ranks every visit, and outcomes are drawn with common random numbers. So only the slates cause
differences. The A/A runs check the intervals: they repeat one policy with other random numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eventlog.simulator import Visits, World, simulate, simulated_visits
from eventlog.simulator.outcomes import NUM_UNIFORMS
from experiments.online.effects import MEASURES, Change, change, mean_changes, measures_of
from experiments.online.policies import RANKING, scores_of, train_arms
from experiments.online.slates import slates
from experiments.trials.progress import ExperimentProgress
from experiments.trials.scheduler import TrialScheduler
from experiments.trials.stream import ExampleStream
from experiments.trials.trial_result import TrialResult
from pipeline.config import Deployment

Array = Any


@dataclass(frozen=True)
class LiveSettings:
    """The size of a live experiment.

    Attributes:
        spans: number of spans of the log. Policies rank visits from the students' second span on.
        examples_per_span: impressions that the models train on.
        visits: number of visits of each span.
        items: number of items to rank in each visit.
        slots: number of items that a visit shows.
        world_seed: seed of the simulated world.
        ranking: see `experiments.online.policies.RANKING`.
    """

    spans: int = 10
    examples_per_span: int = 6000
    visits: int = 2000
    items: int = 20
    slots: int = 5
    world_seed: int = 1
    ranking: tuple[tuple[str, float], ...] = RANKING


@dataclass(frozen=True)
class Policy:
    """The slates that one trained model shows.

    Attributes:
        shown: by span, `[visits x slots]` indices into the span's items.
        positions: by span, `[visits x slots]` positions from 1.
    """

    shown: Mapping[int, Array]
    positions: Mapping[int, Array]


class LiveExperiment:
    """The visits of a live experiment, and their outcomes under any policy.

    Args:
        visits: one element per span.
        items: number of items to rank in each visit.
        slots: number of items that a visit shows.
    """

    def __init__(self, visits: Sequence[Visits], items: int, slots: int) -> None:
        self._visits = {span_visits.span: span_visits for span_visits in visits}
        self._items = items
        self._slots = slots
        self._visitors = np.unique(np.concatenate([span_visits.users for span_visits in visits]))

    def policy(self, scores: Mapping[int, Array]) -> Policy:
        """The slates with the highest scores; `scores` holds `[visits x items]` by span."""
        ranked = {span: slates(of_span, self._items, self._slots) for span, of_span in scores.items()}
        return Policy(
            {span: shown for span, (shown, _) in ranked.items()},
            {span: positions for span, (_, positions) in ranked.items()},
        )

    def totals(self, policy: Policy, outcome_seed: int) -> dict[str, Array]:
        """Every visitor's total engagement and satisfaction under a policy.

        Args:
            policy: the slates.
            outcome_seed: seed of the outcomes; equal seeds give all policies common random numbers.

        Returns:
            For each measure, `[visitors]` float64.
        """
        num_users = int(self._visitors[-1]) + 1
        totals = {measure: np.zeros(num_users) for measure in MEASURES}
        for span, visits in self._visits.items():
            random = np.random.default_rng((outcome_seed, span))
            uniforms = random.random((NUM_UNIFORMS, visits.table.num_rows), dtype=np.float32)
            shown = policy.shown[span]
            users = visits.users[shown // self._items]
            outcomes = visits.outcomes(shown, policy.positions[span], uniforms)
            for measure, values in measures_of(outcomes).items():
                totals[measure] += np.bincount(users, weights=values, minlength=num_users)
        return {measure: values[self._visitors] for measure, values in totals.items()}


def run_live(
    deployment: Deployment,
    setting: LiveSettings,
    arms: Sequence[str],
    out: Path,
    *,
    seeds: int,
    processes: int,
    progress: ExperimentProgress,
) -> tuple[LiveExperiment, dict[str, list[Policy]]]:
    """Simulates the log and the visits, trains the arms and ranks the visits with each.

    Returns:
        The experiment, and a policy for each seed of each arm.
    """
    from experiments.trials.loading import load_stream

    log = out / f"log-{setting.world_seed}-{setting.spans}x{setting.examples_per_span}"
    simulate(log, setting.spans, setting.examples_per_span, setting.world_seed)
    ranked_spans = range(deployment.burn_in_spans[-1] + 2, setting.spans)
    visits = [span_visits for span_visits in _visits(setting) if span_visits.span in ranked_spans]
    items = {span_visits.span: span_visits.table for span_visits in visits}
    progress.print_line(
        f"ranking {setting.visits} visits on each of spans {ranked_spans[0]} to {ranked_spans[-1]}"
    )
    folder = load_stream(deployment, log, out / "streams", items)

    with TrialScheduler(folder, out / "trials", processes, progress.on_done) as scheduler:
        results = train_arms(deployment, scheduler, arms, seeds, setting.spans - 1)
    experiment = LiveExperiment(visits, setting.items, setting.slots)
    return experiment, {
        arm: [
            experiment.policy(_item_scores(scheduler.stream, result, items, setting.ranking))
            for result in of_arm
        ]
        for arm, of_arm in results.items()
    }


def changes(
    experiment: LiveExperiment, policies: Sequence[Policy], controls: Sequence[Policy], outcome_seed: int
) -> dict[str, Change]:
    """The mean change over seeds, by measure; see `mean_changes`."""
    return mean_changes(
        [
            (experiment.totals(policy, outcome_seed), experiment.totals(control, outcome_seed))
            for policy, control in zip(policies, controls, strict=True)
        ]
    )


def aa_changes(
    experiment: LiveExperiment, policy: Policy, runs: int, effect: float = 0.0
) -> dict[str, list[Change]]:
    """A/A runs: compares a policy with itself under other random numbers.

    Args:
        experiment: the visits.
        policy: the slates.
        runs: number of runs.
        effect: relative increase of one side's measures, to check the power; 0.01 is one per cent.

    Returns:
        For each measure, one change per run.
    """
    by_measure: dict[str, list[Change]] = {measure: [] for measure in MEASURES}
    for run in range(runs):
        first, second = (
            experiment.totals(policy, outcome_seed) for outcome_seed in (2 * run + 1, 2 * run + 2)
        )
        for measure in MEASURES:
            by_measure[measure].append(change(first[measure] * (1 + effect), second[measure]))
    return by_measure


def _visits(setting: LiveSettings) -> list[Visits]:
    """The visits of every span."""
    spans = simulated_visits(
        World(), setting.examples_per_span, setting.world_seed,
        visits=setting.visits, items=setting.items,
    )  # fmt: skip
    return list(itertools.islice(spans, setting.spans))


def _item_scores(
    stream: ExampleStream,
    result: TrialResult,
    items: Mapping[int, Any],
    ranking: Sequence[tuple[str, float]],
) -> dict[int, Array]:
    """For each span, the scores of the items to rank; the stream holds them after the span's impressions."""
    row_scores = scores_of(result, ranking)
    scores = {}
    for span, table in items.items():
        rows = np.flatnonzero(stream.spans[result.rows] == span)
        scores[span] = row_scores[rows[-table.num_rows :]]
    return scores
