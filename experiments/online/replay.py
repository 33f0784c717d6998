"""A live experiment replayed on impressions that were drawn at random, where a log has some.

An exposure that was drawn uniformly is one that any policy might have chosen: what followed those that a
policy would have shown is, up to luck, what it would have earned.

Reference: Li et al., "Unbiased offline evaluation of contextual-bandit-based news article recommendation
algorithms", WSDM 2011. Differs: a policy shows the best share of each span's exposures, not one of a slate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlog.random_exposures import read_random_exposures
from eventlog.rows import EXAMPLE_ID
from eventlog.spans import complete_spans, span_files
from experiments.online.effects import MEASURES, measured
from experiments.online.policies import scores_of, train_arms
from experiments.trials.progress import ExperimentProgress
from experiments.trials.schedule import Schedule
from experiments.trials.stream import Stream
from experiments.trials.trial_result import Outcome
from pipeline.config import Deployment

Array = Any

_MEASURED_TASKS = ("watch_time", "long_view", "like")


def run_replay(
    deployment: Deployment,
    log: Path,
    arms: Sequence[str],
    out: Path,
    *,
    share: float,
    seeds: int,
    processes: int,
    progress: ExperimentProgress,
) -> dict[str, list[dict[str, Array]]]:
    """Trains the arms over a log and lets each choose among its random exposures, before it learns them.

    Args:
        deployment: whose models.
        log: an event log with random exposures behind the first span that students learn.
        arms: names, the control among them.
        out: folder of streams and trials.
        share: of each span's exposures, how many a policy shows, in (0, 1).
        seeds: runs of every arm.
        processes: trials at once.
        progress: told what begins and ends.

    Returns:
        By arm, by seed: by measure, `[users]` float64, what every user did with what was shown.

    Raises:
        BadInput: if the log is none, or has no random exposures there.
    """
    from experiments.trials.loading import load_stream

    last = complete_spans(log)[-1]
    spans = range(deployment.burn_in_spans[-1] + 2, last + 1)
    drawn = read_random_exposures(log, spans)
    progress.say(f"replaying {len(drawn)} random exposures of spans {spans.start} to {last}")
    folder = load_stream(deployment, log, out / "streams")
    with Schedule(folder, out / "trials", processes, progress.on_done) as schedule:
        outcomes = train_arms(deployment, schedule, arms, seeds, last)
        stream = schedule.stream
    exposures = [_exposures(stream, log, span, drawn) for span in spans]
    return {
        arm: [_totals(stream, exposures, kept, share) for kept in of_arm] for arm, of_arm in outcomes.items()
    }


def _exposures(stream: Stream, log: Path, span: int, drawn: pa.Array) -> Array:
    """The stream's rows that are random exposures of one span and have all labels that are measured."""
    ids = pa.concat_tables([pq.read_table(file, columns=[EXAMPLE_ID]) for file in span_files(log, span)])
    rows = stream.rows(span)
    where = pc.is_in(ids[EXAMPLE_ID], value_set=drawn).to_numpy() & stream.fresh[rows]
    labels = stream.labels[rows][:, [stream.tasks.index(task) for task in _MEASURED_TASKS]]
    return rows.start + np.flatnonzero(where & ~np.isnan(labels).any(axis=1))


def _totals(stream: Stream, exposures: Sequence[Array], kept: Outcome, share: float) -> dict[str, Array]:
    scores = scores_of(kept)
    shown = []
    for rows in exposures:
        places = np.searchsorted(kept.rows, rows)
        best = np.argsort(-scores[places], kind="stable")[: int(np.ceil(share * len(rows)))]
        shown.append(rows[best])
    chosen = np.concatenate(shown)
    labels = {task: stream.labels[chosen, stream.tasks.index(task)] for task in _MEASURED_TASKS}
    users = np.unique(stream.clusters[np.concatenate(exposures)])
    places = np.searchsorted(users, stream.clusters[chosen])
    values = measured(labels)
    return {
        measure: np.bincount(places, weights=values[measure], minlength=len(users)) for measure in MEASURES
    }
