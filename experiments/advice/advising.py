"""Spends a budget on the smallest experiments that decide, and says what to do and on what evidence."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from components.evaluation.bootstrap import SpanRows
from experiments.advice.candidates import GROUPS, Candidate, candidates
from experiments.advice.halving import halve
from experiments.arms import CONTROL, scaled
from experiments.criterion import criterion
from experiments.influence import Figure, figures
from experiments.intervals import Estimate, Resamples, difference
from experiments.laboratory import Laboratory
from experiments.objectives import tasks_of
from experiments.outcome import Outcome
from experiments.progress import ExperimentProgress
from experiments.schedule import Schedule
from experiments.settings import Experiment
from experiments.tuning import Choice, Point
from pipeline.config import Deployment

Array = Any

_SHARE_OF_SEARCH = 0.6
"""Of the budget; the rest shows what the best gives, with more seeds, where nothing was chosen."""
_MOST_SEEDS, _LEAST_SEEDS = 10, 3


@dataclasses.dataclass(frozen=True)
class Advice:
    """What was found.

    Attributes:
        best: the candidate; None where nothing excludes no gain.
        candidate: the best of the search, advised or not.
        gain: its criterion less the control's, on the reporting stretch.
        default_gain: the same of the paper's advice.
        seeds: behind both.
        rungs: per round of the search, names and mean scores.
        seconds: in all.
    """

    best: Candidate | None
    candidate: Candidate
    gain: Estimate
    default_gain: Estimate
    seeds: int
    rungs: list[dict[str, float]]
    seconds: float


def advise(
    experiment: Experiment,
    deployment: Deployment,
    stream: Path,
    cache: Path,
    *,
    budget_seconds: float,
    processes: int,
    progress: ExperimentProgress,
) -> Advice:
    """Searches on the tuning stretch and judges on the reporting stretch.

    Args:
        experiment: the protocol; models learn as the deployment says, with the experiment's batch size.
        deployment: whose student is to be distilled.
        stream: the stream's folder.
        cache: folder of the trials.
        budget_seconds: to be spent; the first round of the search takes place in any case.
        processes: trials at once.
        progress: told what begins and ends.
    """
    started = time.monotonic()

    def spent() -> float:
        return time.monotonic() - started

    with Schedule(stream, cache, processes, progress.on_done) as schedule:
        bench = _Bench(experiment, deployment, schedule, progress.say)
        rungs = halve(candidates(), bench.scores, lambda: _SHARE_OF_SEARCH * budget_seconds - spent(), spent)
        for number, rung in enumerate(rungs):
            best, score = next(iter(rung.scores.items()))
            count = len(rung.scores)
            progress.say(
                f"round {number + 1}: {count} candidates, {rung.seconds:.0f} s; "
                f"best {best.name}, {np.mean(score):+.4f}"
            )
        found = next(iter(rungs[-1].scores))
        seeds = bench.affordable_seeds(budget_seconds - spent())
        progress.say(f"judging {found.name} with {seeds} seeds")
        gain, default_gain = bench.judge(found, candidates()[0], seeds)
    told = [{one.name: float(np.mean(score)) for one, score in rung.scores.items()} for rung in rungs]
    shown = gain.both is not None and gain.both[0] > 0
    return Advice(found if shown else None, found, gain, default_gain, seeds, told, spent())


def write_advice(advice: Advice, deployment: Deployment, config: Path, out: Path) -> str:
    """Writes `advice.json`, and `recommended.yaml` where there is evidence; returns what to tell."""
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "advised": advice.best.name if advice.best else None,
        "candidate": dataclasses.asdict(advice.candidate),
        "gain": dataclasses.asdict(advice.gain),
        "default_gain": dataclasses.asdict(advice.default_gain),
        "seeds": advice.seeds,
        "rounds": advice.rungs,
        "seconds": advice.seconds,
    }
    (out / "advice.json").write_text(json.dumps(document, indent=1))
    evidence = (
        f"criterion {_shown(advice.gain)} over the control with {advice.seeds} seeds "
        f"(the paper's advice: {_shown(advice.default_gain)}); {advice.seconds:.0f} s spent"
    )
    if advice.best is None:
        return (
            f"No evidence that distillation helps: the best found, {advice.candidate.name}, has {evidence}."
        )
    recommended = out / "recommended.yaml"
    recommended.write_text(yaml.safe_dump(_recommended(advice.best, deployment, config), sort_keys=False))
    return f"Advice: {advice.best.name}. Evidence: {evidence}. Configuration: {recommended}"


class _Bench:
    """Runs candidates, each under the deployment's own settings."""

    def __init__(
        self, experiment: Experiment, deployment: Deployment, schedule: Schedule, say: Callable[[str], Any]
    ) -> None:
        self._experiment = experiment
        self._deployment = deployment
        self._schedule = schedule
        self._laboratory = Laboratory(
            experiment, deployment, schedule, _MOST_SEEDS, per_surface=False, say=say
        )
        self._trial_seconds: list[float] = []
        student, teacher = deployment.student, deployment.teacher
        self._point = Point(
            student.optimizer.learning_rate, student.passes, student.architecture.dropout, 1.0
        )
        self._teacher_point = Point(
            teacher.optimizer.learning_rate, teacher.passes, teacher.architecture.dropout, 1.0
        )

    def scores(self, asked: Sequence[tuple[Candidate, int]]) -> list[float]:
        """The criterion of each over the control's with the same seed, on the tuning stretch."""
        last = self._experiment.tuning_spans[-1]
        kept = self._run(asked, last)
        controls = dict(zip({seed for _, seed in asked}, self._controls({seed for _, seed in asked}, last),
                            strict=True))  # fmt: skip
        gains = self._laboratory.gains
        return [
            criterion(gains(own)) - criterion(gains(controls[seed]))
            for own, (_, seed) in zip(kept, asked, strict=True)
        ]

    def affordable_seeds(self, seconds: float) -> int:
        """How many seeds of candidate, default, control and their teachers the rest of the budget allows."""
        spans = self._experiment.reporting_spans[-1] + 1
        stretch = spans / (self._experiment.tuning_spans[-1] + 1)
        per_seed = 5 * stretch * float(np.mean(self._trial_seconds))
        return int(np.clip(seconds / per_seed, _LEAST_SEEDS, _MOST_SEEDS))

    def judge(self, found: Candidate, default: Candidate, seeds: int) -> tuple[Estimate, Estimate]:
        """The gains of two candidates on the reporting stretch."""
        last = self._experiment.reporting_spans[-1]
        own = self._run([(found, seed) for seed in range(seeds)], last)
        others = self._run([(default, seed) for seed in range(seeds)], last)
        controls = self._controls(set(range(seeds)), last)
        arms = [[self._figure(kept) for kept in of_arm] for of_arm in (own, others, controls)]
        stream = self._schedule.stream
        resamples = Resamples(int(stream.clusters.max()) + 1, seeds, self._experiment.resamples, seed=0)
        pairs = ([arms[0], arms[2]], [arms[1], arms[2]])
        gain, default_gain = (
            resamples.estimate(pair, difference, resamples.replicates(pair)) for pair in pairs
        )
        return gain, default_gain

    def _run(self, asked: Sequence[tuple[Candidate, int]], last: int) -> list[Outcome]:
        """Teachers first; candidates of one width and seed share one."""
        laboratory = self._laboratory
        for candidate, _ in asked:
            teacher = candidate.teacher
            laboratory.teachers[teacher.name] = teacher
            laboratory.choices[teacher.name] = Choice(self._teacher_point, ())
        teachers = {(candidate.teacher, seed) for candidate, seed in asked}
        self._timed(
            [laboratory.trial(teacher, self._teacher_point, seed, last) for teacher, seed in teachers]
        )
        return self._timed(
            [
                laboratory.trial(
                    candidate.student(self._deployment),
                    dataclasses.replace(self._point, soft_weight=candidate.weight),
                    seed,
                    last,
                )
                for candidate, seed in asked
            ]
        )

    def _controls(self, seeds: set[int], last: int) -> list[Outcome]:
        return self._timed([self._laboratory.trial(CONTROL, self._point, seed, last) for seed in seeds])

    def _timed(self, trials: list[Any]) -> list[Outcome]:
        began = time.monotonic()
        kept = self._schedule.run(trials)
        self._trial_seconds.append((time.monotonic() - began) / max(1, len(trials)))
        return kept

    def _figure(self, kept: Outcome) -> Figure:
        """The criterion on the reporting stretch, which is linear in the losses, with its influences."""
        stream, experiment = self._schedule.stream, self._experiment
        known = stream.known_labels()
        spans = stream.spans[kept.rows]
        inside = (spans >= experiment.reporting_spans.start) & (spans < experiment.reporting_spans.stop)
        values, influences = [], []
        for place, name in enumerate(kept.tasks):
            task = self._deployment.tasks[name]
            labels = known[kept.rows, stream.tasks.index(name)]
            where = inside & ~np.isnan(labels)
            own = labels[where].astype(np.float64)
            counted = min((own > 0.5).sum(), (own <= 0.5).sum()) if task.kind == "binary" else len(own)
            if counted < experiment.min_positives:
                continue
            rows = SpanRows(own, stream.clusters[kept.rows[where]], kept.predictions[where, place])
            found = figures(task.kind, [rows], int(stream.clusters.max()) + 1)
            if task.kind == "binary":
                mean = own.mean()
                scale = -1 / -(mean * np.log(mean) + (1 - mean) * np.log1p(-mean))
                loss, moved = found["log_loss"].value, found["log_loss"].influence
            else:
                scale = -1 / own.var()
                loss = found["rmse"].value ** 2
                moved = 2 * found["rmse"].value * found["rmse"].influence
            values.append(1 + scale * loss)
            influences.append(scale * moved)
        return Figure(float(np.mean(values)), np.mean(influences, axis=0))


def _recommended(best: Candidate, deployment: Deployment, config: Path) -> Mapping[str, Any]:
    """The deployment's own file with the teacher's size and the student's distillation as advised."""
    document: dict[str, Any] = yaml.safe_load(config.read_text())
    sizes = scaled(deployment.student.architecture, best.width)
    document["schema"] = deployment.schema
    document["teacher"]["architecture"] |= {
        "embedding_size": sizes.embedding_size, "trunk": list(sizes.trunk), "tower": list(sizes.tower),
    }  # fmt: skip
    document["student"]["distillation"] = {
        name: {"strategy": best.strategy, "weight": best.weight}
        for name in tasks_of(deployment, GROUPS[best.groups])
    }
    return document


def _shown(gain: Estimate) -> str:
    return f"{gain.value:+.4f}" + (f" [{gain.both[0]:+.4f}, {gain.both[1]:+.4f}]" if gain.both else "")
