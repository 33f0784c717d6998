"""Spends a budget on the smallest experiments that decide, and says what to do and on what evidence."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.advice.bench import Bench
from experiments.advice.candidates import GROUPS, Candidate, candidates
from experiments.advice.halving import halve
from experiments.advice.pooling import pooled
from experiments.protocol.arms import scaled, tasks_of
from experiments.protocol.settings import Experiment
from experiments.statistics.intervals import Estimate
from experiments.trials.progress import ExperimentProgress
from experiments.trials.schedule import Schedule
from pipeline.config import Deployment
from pipeline.config_file import read_document

_SHARE_OF_SEARCH = 0.75
"""Of the budget; the rest shows what its best gives, with more seeds, on spans the search did not see."""


@dataclasses.dataclass(frozen=True)
class Advice:
    """What was found.

    Attributes:
        best: of the search's best and the paper's advice what gave more on the reporting stretch; None where
            the gain of neither excludes 0.
        candidate: the best of the search, advised or not.
        gain: its criterion less the control's, on the reporting stretch.
        default_gain: the same of the paper's advice.
        seeds: behind both.
        rungs: per round of the search, names and what was thought of them.
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
    schedule: Schedule,
    *,
    budget_seconds: float,
    progress: ExperimentProgress,
) -> Advice:
    """Searches on the tuning stretch and judges on the reporting stretch.

    Args:
        experiment: the protocol; models learn as the deployment says, with the experiment's batch size.
        deployment: whose student is to be distilled.
        schedule: runs trials.
        budget_seconds: to be spent; the first round of the search takes place in any case.
        progress: told what begins and ends.
    """
    started = time.monotonic()

    def spent() -> float:
        return time.monotonic() - started

    bench = Bench(experiment, deployment, schedule, progress.say)
    rungs = halve(
        candidates(), bench.scores, pooled, bench.forecast,
        lambda: _SHARE_OF_SEARCH * budget_seconds - spent(), spent,
    )  # fmt: skip
    for number, rung in enumerate(rungs):
        best, score = next(iter(rung.scores.items()))
        count = len(rung.scores)
        progress.say(
            f"round {number + 1}: {count} candidates, {rung.seconds:.0f} s; best {best.name}, {score:+.4f}"
        )
    found = next(iter(rungs[-1].scores))
    seeds = bench.affordable_seeds(budget_seconds - spent())
    progress.say(f"judging {found.name} with {seeds} seeds")
    figures = bench.figures(dict.fromkeys((found, candidates()[0], None)), range(seeds))
    gain, default_gain = (bench.less(figures[one], figures[None]) for one in (found, candidates()[0]))
    told = [{one.name: score for one, score in rung.scores.items()} for rung in rungs]
    advised = shown_best({found: gain, candidates()[0]: default_gain})
    return Advice(advised, found, gain, default_gain, seeds, told, spent())


def shown_best(gains: Mapping[Candidate, Estimate]) -> Candidate | None:
    """Of those whose gain excludes 0."""
    shown = [one for one, gain in gains.items() if gain.both is not None and gain.both[0] > 0]
    return max(shown, key=lambda one: gains[one].value, default=None)


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
        f"criterion over the control with {advice.seeds} seeds: "
        f"{advice.candidate.name} {_shown(advice.gain)}, "
        f"the paper's advice {_shown(advice.default_gain)}; {advice.seconds:.0f} s spent"
    )
    if advice.best is None:
        return f"No evidence that distillation helps: {evidence}."
    recommended = out / "recommended.yaml"
    recommended.write_text(yaml.safe_dump(_recommended(advice.best, deployment, config), sort_keys=False))
    return f"Advice: {advice.best.name}. Evidence: {evidence}. Configuration: {recommended}"


def _recommended(best: Candidate, deployment: Deployment, config: Path) -> Mapping[str, Any]:
    """The deployment's own file with the teacher's size and the student's distillation as advised."""
    document = read_document(config)
    sizes = scaled(deployment.student.architecture, best.width)
    document["schema"] = deployment.schema
    document["teacher"]["architecture"] |= {
        "embedding_size": sizes.embedding_size, "trunk": list(sizes.trunk), "tower": list(sizes.tower),
    }  # fmt: skip
    for name, task in deployment.tasks.items():
        # The protocol's, where it has some of its own.
        document["tasks"][name]["weight"] = task.weight
    document["student"]["distillation"] = {
        name: {"strategy": best.strategy, "weight": best.weight * deployment.tasks[name].weight}
        for name in tasks_of(deployment, GROUPS[best.groups])
    }
    return document


def _shown(gain: Estimate) -> str:
    return f"{gain.value:+.4f}" + (f" [{gain.both[0]:+.4f}, {gain.both[1]:+.4f}]" if gain.both else "")
