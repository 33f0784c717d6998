"""Runs one experiment on an event log and writes its results and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.protocol.arm_runner import ArmRunner
from experiments.protocol.settings import ExperimentProtocol, require_spans
from experiments.protocol.tuning import TuningResult
from experiments.report.experiment_page import experiment_page
from experiments.report.results import write_results
from experiments.statistics.comparison import ALL_SURFACES, ResultRow, apply_holm_correction, largest_surface
from experiments.tables import features, label_age, objectives, size, stability, strategy
from experiments.trials.progress import ExperimentProgress
from experiments.trials.scheduler import TrialScheduler
from experiments.trials.stream import ExampleStream
from models.settings import to_json
from pipeline.config import Deployment

EXPERIMENTS: Mapping[str, Callable[[ArmRunner], list[ResultRow]]] = {
    "strategy": strategy.run,
    "size": size.run,
    "objectives": objectives.run,
    "stability": stability.run,
    "label-age": label_age.run,
    "features": features.run,
}


def run_experiment(
    name: str,
    protocol: ExperimentProtocol,
    deployment: Deployment,
    events: Path,
    out: Path,
    cache: Path,
    *,
    seeds: int,
    processes: int,
    per_surface: bool,
    progress: ExperimentProgress,
) -> list[ResultRow]:
    """Runs an experiment and writes its results; reuses the finished trials of an interrupted call.

    Args:
        name: one of `EXPERIMENTS`.
        protocol: the experiment's protocol.
        deployment: settings of the models.
        events: folder of the event log.
        out: output folder of the results and `report.html`.
        cache: folder of streams and trials; experiments on one log may share it.
        seeds: number of seeds of every arm.
        processes: number of worker processes, one trial each.
        per_surface: True trains a separate student for each surface.
        progress: shows steps and trials.

    Returns:
        The rows that were written.

    Raises:
        BadInput: if the event log is missing, incomplete or faulty; if a worker process is killed; if
            `strategy` runs with a protocol without `slice_feature`.
    """
    from experiments.trials.loading import load_stream

    progress.print_line(f"reading {events}")
    folder = load_stream(deployment, events, cache / "streams")
    with TrialScheduler(folder, cache / "trials", processes, progress.on_done) as scheduler:
        require_spans(protocol, int(scheduler.stream.spans.max()), events)
        runner = ArmRunner(
            protocol, deployment, scheduler, seeds, per_surface=per_surface, print_line=progress.print_line
        )
        rows = EXPERIMENTS[name](runner)
    rows = apply_holm_correction(rows, lambda row: _is_primary(row, protocol, scheduler.stream))
    about = {
        "title": f"{name}: {'a student for each surface' if per_surface else 'one student for all surfaces'}",
        "protocol": _protocol_text(protocol, deployment, seeds),
        "experiment": to_json(protocol),
        "costs": runner.costs,
        "curves": runner.curves,
        "choices": {arm: _choice_json(choice) for arm, choice in runner.choices.items()},
    }
    write_results(out, rows, about)
    (out / "report.html").write_text(experiment_page(out))
    return rows


def _is_primary(row: ResultRow, protocol: ExperimentProtocol, stream: ExampleStream) -> bool:
    primary = protocol.primary
    surfaces = (ALL_SURFACES, largest_surface(stream, protocol.reporting_spans))
    endpoints = {(endpoint.task, endpoint.metric) for endpoint in primary.endpoints}
    return (
        row.arm == primary.arm
        and row.versus in primary.versus
        and row.surface in surfaces
        and (row.task, row.metric) in endpoints
    )


def _protocol_text(protocol: ExperimentProtocol, deployment: Deployment, seeds: int) -> str:
    return (
        f"Burn-in {deployment.burn_in}, tuning on spans {protocol.tuning}, reporting on spans "
        f"{protocol.reporting}; {seeds} seeds; 95 % intervals that resample users and seeds."
    )


def _choice_json(choice: TuningResult) -> dict[str, Any]:
    chosen = max(choice.tried, key=lambda result: (result.point == choice.point, result.criterion))
    return {
        "point": dataclasses.asdict(choice.point),
        "criterion": chosen.criterion,
        "tried": [
            {"point": dataclasses.asdict(result.point), "criterion": result.criterion, "gains": result.gains}
            for result in choice.tried
        ],
        "front": [dataclasses.asdict(result.point) for result in choice.front],
    }
