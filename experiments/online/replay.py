"""Replays a live experiment on random exposures: impressions whose item the app drew at random, unranked.

The draw does not depend on the compared policies. So the outcomes of the exposures that a policy would have
shown estimate the policy's effect without bias.

Reference: Li et al., "Unbiased offline evaluation of contextual-bandit-based news article recommendation
algorithms", WSDM 2011. Differs: a policy shows a fixed share of a span's exposures, not one item of a slate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlog.parquet_files import read_table
from eventlog.random_exposures import read_random_exposures
from eventlog.rows import EXAMPLE_ID, IMPRESSION_SPAN
from eventlog.spans import complete_spans, span_files
from experiments.online.effects import Measures
from experiments.online.policies import require_ranking, scores_of, train_arms
from experiments.trials.progress import ExperimentProgress
from experiments.trials.scheduler import TrialScheduler
from experiments.trials.stream import ExampleStream
from pipeline.config import Deployment

Array = Any


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
    """Trains the arms over a log; every model scores a span's random exposures before it trains on the span.

    Args:
        deployment: the models.
        log: an event log with random exposures after the first span that students train on.
        arms: names of the arms, the control among them.
        out: folder of streams and trials.
        share: share of each span's exposures that a policy shows, in (0, 1).
        seeds: number of runs of every arm.
        processes: number of trials that run at the same time.
        progress: prints progress lines.

    Returns:
        For each arm and seed, a mapping from measure to `[users]` float64 totals over the shown exposures.

    Raises:
        BadInput: if the deployment has no `ranking`; `log` is not an event log, has a faulty span, or has no
            random exposures after the first span that students train on; or a worker process is killed.
    """
    from experiments.trials.loading import load_stream

    ranking = require_ranking(deployment)
    measures = Measures(ranking.measures, deployment.tasks)
    last = complete_spans(log)[-1]
    spans = range(deployment.burn_in_spans[-1] + 2, last + 1)
    drawn = read_random_exposures(log, spans)
    progress.print_line(f"replaying {len(drawn)} random exposures of spans {spans.start} to {last}")
    folder = load_stream(deployment, log, out / "streams")
    with TrialScheduler(folder, out / "trials", processes, progress.on_done) as scheduler:
        results = train_arms(deployment, scheduler, arms, seeds, last)
        stream = scheduler.stream
    exposures = [exposed_rows(stream, log, span, drawn, measures.used_tasks) for span in spans]
    return {
        arm: [
            user_totals(stream, exposures, scores_of(result, ranking.weights), result.rows, share, measures)
            for result in arm_results
        ]
        for arm, arm_results in results.items()
    }


def exposed_rows(stream: ExampleStream, log: Path, span: int, drawn: pa.Array, tasks: Sequence[str]) -> Array:
    """The stream's rows of one span that are random exposures and have the labels of all measured tasks.

    Args:
        stream: the rows of the log.
        log: the event log.
        span: the span.
        drawn: ids of the random exposures.
        tasks: the measured tasks.

    Returns:
        `[exposures]` int64 row numbers of the stream, ascending.
    """
    columns = [EXAMPLE_ID, IMPRESSION_SPAN]
    logged = pa.concat_tables([read_table(file, columns=columns) for file in span_files(log, span)])
    # A matured row has the id of an impression of an earlier span, and the stream may lack it.
    ids = logged.filter(pc.equal(logged[IMPRESSION_SPAN], span))[EXAMPLE_ID]
    rows = stream.fresh_rows(range(span, span + 1))
    where = pc.is_in(ids, value_set=drawn).to_numpy()
    labels = stream.labels[rows][:, [stream.tasks.index(task) for task in tasks]]
    return rows[where & ~np.isnan(labels).any(axis=1)]


def user_totals(
    stream: ExampleStream,
    exposures: Sequence[Array],
    scores: Array,
    scored_rows: Array,
    share: float,
    measures: Measures,
) -> dict[str, Array]:
    """Each user's totals over the exposures that a policy shows.

    Args:
        stream: the rows of the log.
        exposures: for each span, `[exposures]` row numbers of the stream.
        scores: `[scored rows]` the scores by which the policy ranks.
        scored_rows: `[scored rows]` their row numbers of the stream, ascending.
        share: share of each span's exposures that the policy shows, in (0, 1); their number is rounded up.
        measures: computes the measures from the labels of the shown exposures.

    Returns:
        For each measure, `[users]` float64 of all users with an exposure, in the order of cluster codes.
    """
    shown = []
    for rows in exposures:
        span_scores = scores[np.searchsorted(scored_rows, rows)]
        best = np.argsort(-span_scores, kind="stable")[: int(np.ceil(share * len(rows)))]
        shown.append(rows[best])
    shown_rows = np.concatenate(shown)
    labels = {task: stream.labels[shown_rows, stream.tasks.index(task)] for task in measures.used_tasks}
    clusters = np.unique(stream.clusters[np.concatenate(exposures)])
    users = np.searchsorted(clusters, stream.clusters[shown_rows])
    return {
        measure: np.bincount(users, weights=values, minlength=len(clusters))
        for measure, values in measures.of(labels).items()
    }
