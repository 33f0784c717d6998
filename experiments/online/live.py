"""Simulates a live experiment: models train on a simulated log, and each model ranks the same visits.

Every policy ranks every visit, and outcomes are drawn with common random numbers. So policies differ by their
slates alone. The A/A runs check the intervals: they repeat one policy with other random numbers.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eventlog.simulator import Visits, World, simulate, simulated_visits
from eventlog.simulator.outcomes import NUM_UNIFORMS
from experiments.online.effects import Change, Measures, mean_changes, relative_change
from experiments.online.policies import require_ranking, scores_of, train_arms
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
        num_spans: number of spans of the log. Policies rank visits from the students' second span on.
        examples_per_span: number of impressions in a span of the log, on which the models train.
        num_visits: number of visits in each span.
        num_items: number of items to rank in each visit.
        num_slots: number of items that a visit shows.
        world_seed: seed of the simulated world.
    """

    num_spans: int = 10
    examples_per_span: int = 6000
    num_visits: int = 2000
    num_items: int = 20
    num_slots: int = 5
    world_seed: int = 1


@dataclass(frozen=True)
class Policy:
    """The slates that one trained model shows.

    Attributes:
        shown: by span, `[visits * slots]` indices of the shown items among all items of the span, visit by
            visit.
        positions: by span, `[visits * slots]` positions of these items on their slate, from 1.
    """

    shown: Mapping[int, Array]
    positions: Mapping[int, Array]


class LiveExperiment:
    """The visits of a live experiment, and their outcomes under any policy.

    Args:
        visits: one element per span.
        num_items: number of items to rank in each visit.
        num_slots: number of items that a visit shows.
        measures: computes the measures from the outcomes of the shown items.
    """

    def __init__(self, visits: Sequence[Visits], num_items: int, num_slots: int, measures: Measures) -> None:
        self._measures = measures
        self._visits = {span_visits.span: span_visits for span_visits in visits}
        self._num_items = num_items
        self._num_slots = num_slots
        self._visitors = np.unique(np.concatenate([span_visits.users for span_visits in visits]))

    def policy(self, scores: Mapping[int, Array]) -> Policy:
        """The slates with the highest scores; `scores` maps a span to `[visits * items]`, visit by visit."""
        ranked = {
            span: slates(span_scores, self._num_items, self._num_slots)
            for span, span_scores in scores.items()
        }
        return Policy(
            {span: shown for span, (shown, _) in ranked.items()},
            {span: positions for span, (_, positions) in ranked.items()},
        )

    def totals(self, policy: Policy, outcome_seed: int) -> dict[str, Array]:
        """Every visitor's total of each measure under a policy.

        Args:
            policy: the slates.
            outcome_seed: seed of the outcomes; equal seeds give all policies common random numbers.

        Returns:
            For each measure, `[visitors]` float64, in the order of the users' numbers.
        """
        num_users = int(self._visitors[-1]) + 1
        totals = {measure: np.zeros(num_users) for measure in self._measures.weights}
        for span, visits in self._visits.items():
            random = np.random.default_rng((outcome_seed, span))
            uniforms = random.random((NUM_UNIFORMS, visits.table.num_rows), dtype=np.float32)
            shown = policy.shown[span]
            users = visits.users[shown // self._num_items]
            outcomes = visits.outcomes(shown, policy.positions[span], uniforms)
            for measure, values in self._measures.of(outcomes).items():
                totals[measure] += np.bincount(users, weights=values, minlength=num_users)
        return {measure: values[self._visitors] for measure, values in totals.items()}


def run_live(
    deployment: Deployment,
    settings: LiveSettings,
    arms: Sequence[str],
    out: Path,
    *,
    seeds: int,
    processes: int,
    progress: ExperimentProgress,
) -> tuple[LiveExperiment, dict[str, list[Policy]]]:
    """Simulates the log and the visits, trains the arms and ranks the visits with each model.

    Args:
        deployment: the models.
        settings: the size of the experiment.
        arms: names of the arms, from `experiments.online.policies.ARMS`.
        out: folder of log, streams and trials.
        seeds: number of runs of every arm.
        processes: number of trials that run at the same time.
        progress: prints progress lines.

    Returns:
        The experiment, and a policy for each seed of each arm.

    Raises:
        BadInput: if the deployment has no `ranking`, or a worker process is killed.
    """
    from experiments.trials.loading import load_stream

    ranking = require_ranking(deployment)
    log = out / f"log-{settings.world_seed}-{settings.num_spans}x{settings.examples_per_span}"
    simulate(log, settings.num_spans, settings.examples_per_span, settings.world_seed)
    ranked_spans = range(deployment.burn_in_spans[-1] + 2, settings.num_spans)
    visits = [span_visits for span_visits in _visits(settings) if span_visits.span in ranked_spans]
    items = {span_visits.span: span_visits.table for span_visits in visits}
    progress.print_line(
        f"ranking {settings.num_visits} visits on each of spans {ranked_spans[0]} to {ranked_spans[-1]}"
    )
    folder = load_stream(deployment, log, out / "streams", items)

    with TrialScheduler(folder, out / "trials", processes, progress.on_done) as scheduler:
        results = train_arms(deployment, scheduler, arms, seeds, settings.num_spans - 1)
    experiment = LiveExperiment(
        visits, settings.num_items, settings.num_slots, Measures(ranking.measures, deployment.tasks)
    )
    return experiment, {
        arm: [
            experiment.policy(_item_scores(scheduler.stream, result, items, ranking.weights))
            for result in arm_results
        ]
        for arm, arm_results in results.items()
    }


def live_changes(
    experiment: LiveExperiment, policies: Sequence[Policy], controls: Sequence[Policy], outcome_seed: int
) -> dict[str, Change]:
    """The mean change over seeds, by measure; `policies` and `controls` have one element per seed."""
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
        effect: relative increase of the first side's totals, to check the power; 0.01 is one per cent.

    Returns:
        For each measure, one change per run.
    """
    by_measure: dict[str, list[Change]] = collections.defaultdict(list)
    for run in range(runs):
        first, second = (
            experiment.totals(policy, outcome_seed) for outcome_seed in (2 * run + 1, 2 * run + 2)
        )
        for measure in first:
            by_measure[measure].append(relative_change(first[measure] * (1 + effect), second[measure]))
    return by_measure


def _visits(settings: LiveSettings) -> list[Visits]:
    """The visits of every span."""
    spans = simulated_visits(
        World(), settings.examples_per_span, settings.world_seed,
        visits=settings.num_visits, items=settings.num_items,
    )  # fmt: skip
    return list(itertools.islice(spans, settings.num_spans))


def _item_scores(
    stream: ExampleStream,
    result: TrialResult,
    items: Mapping[int, Any],
    ranking_weights: Mapping[str, float],
) -> dict[int, Array]:
    """For each span, the scores of the items to rank, which are the last rows of the span in the stream."""
    row_scores = scores_of(result, ranking_weights)
    scores = {}
    for span, table in items.items():
        rows = np.flatnonzero(stream.spans[result.rows] == span)
        scores[span] = row_scores[rows[-table.num_rows :]]
    return scores
