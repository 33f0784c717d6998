"""One experiment from its event log to its results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.protocol.arm_runner import Laboratory
from experiments.protocol.settings import Experiment
from experiments.report.experiment_page import experiment_page
from experiments.report.results import write_results
from experiments.statistics.comparison import ALL_SURFACES, Row, largest_surface, with_holm
from experiments.tables import history, label_age, objectives, size, stability, strategy
from experiments.trials.progress import ExperimentProgress
from experiments.trials.schedule import Schedule
from experiments.trials.stream import Stream
from models.settings import to_json
from pipeline.config import Deployment

EXPERIMENTS: Mapping[str, Callable[[Laboratory], list[Row]]] = {
    "strategy": strategy.run,
    "size": size.run,
    "objectives": objectives.run,
    "stability": stability.run,
    "label-age": label_age.run,
    "features": history.run,
}


def run_experiment(
    name: str,
    experiment: Experiment,
    deployment: Deployment,
    events: Path,
    out: Path,
    cache: Path,
    *,
    seeds: int,
    processes: int,
    per_surface: bool,
    progress: ExperimentProgress,
) -> list[Row]:
    """Runs an experiment; what an earlier, interrupted call has done is not done again.

    Args:
        name: one of `EXPERIMENTS`.
        experiment: the protocol.
        deployment: the models.
        events: folder of the event log.
        out: folder of the results.
        cache: folder of streams and trials; experiments on one log may share it.
        seeds: runs of every arm.
        processes: trials at once.
        per_surface: a student a surface, in place of one for all.
        progress: told what begins and ends.

    Raises:
        BadInput: if the log cannot be used.
    """
    from experiments.trials.loading import load_stream

    progress.say(f"reading {events}")
    folder = load_stream(deployment, events, cache / "streams")
    with Schedule(folder, cache / "trials", processes, progress.on_done) as schedule:
        laboratory = Laboratory(
            experiment, deployment, schedule, seeds, per_surface=per_surface, say=progress.say
        )
        rows = EXPERIMENTS[name](laboratory)
    rows = with_holm(rows, lambda row: _is_primary(row, experiment, schedule.stream))
    about = {
        "title": f"{name}: {'a student a surface' if per_surface else 'one student for all surfaces'}",
        "protocol": _protocol(experiment, deployment, seeds),
        "experiment": to_json(experiment),
        "costs": laboratory.costs,
        "curves": laboratory.curves,
        "choices": {arm: _told(choice) for arm, choice in laboratory.choices.items()},
    }
    write_results(out, rows, about)
    (out / "report.html").write_text(experiment_page(out))
    return rows


def _is_primary(row: Row, experiment: Experiment, stream: Stream) -> bool:
    primary = experiment.primary
    surfaces = (ALL_SURFACES, largest_surface(stream, experiment.reporting_spans))
    endpoints = {(endpoint.task, endpoint.metric) for endpoint in primary.endpoints}
    return (
        row.arm == primary.arm
        and row.versus in primary.versus
        and row.surface in surfaces
        and (row.task, row.metric) in endpoints
    )


def _protocol(experiment: Experiment, deployment: Deployment, seeds: int) -> str:
    return (
        f"Burn-in {deployment.burn_in}, everything chosen on spans {experiment.tuning}, reported on "
        f"{experiment.reporting}; {seeds} seeds; 95 % intervals that resample users and seeds."
    )


def _told(choice: Any) -> dict[str, Any]:
    best = max(choice.tried, key=lambda tried: (tried.point == choice.point, tried.criterion))
    return {
        "point": dataclasses.asdict(choice.point),
        "criterion": best.criterion,
        "tried": [
            {"point": dataclasses.asdict(tried.point), "criterion": tried.criterion, "gains": tried.gains}
            for tried in choice.tried
        ],
        "front": [dataclasses.asdict(tried.point) for tried in choice.front],
    }
