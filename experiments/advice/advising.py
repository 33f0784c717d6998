"""Searches for the best distillation within a time budget and reports the evidence for it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.advice.halving import halve
from experiments.advice.pooling import pool_scores
from experiments.advice.proposal_runner import ProposalRunner, deployed_hyperparameters
from experiments.advice.proposals import GROUPS, Proposal, proposals
from experiments.protocol.arms import distillable_tasks
from experiments.protocol.settings import ExperimentProtocol
from experiments.statistics.intervals import Estimate
from experiments.trials.progress import ExperimentProgress
from experiments.trials.scheduler import TrialScheduler
from models.settings import to_json
from pipeline.config import Deployment
from pipeline.config_file import read_document

_SEARCH_SHARE = 0.75
"""The search's share of the budget. The rest is for the evaluation on the reporting spans."""


@dataclasses.dataclass(frozen=True)
class Advice:
    """Result of a search.

    Attributes:
        advised: `search_best` or the paper's advice, see `best_with_evidence`; None without evidence.
        search_best: the best proposal of the search, advised or not.
        gain: criterion of `search_best` minus the control's criterion, on the reporting spans.
        paper_gain: criterion of the paper's advice minus the control's criterion, on the reporting spans.
        seeds: number of seeds in both gains.
        rounds: for each round of the search, the estimated gain of each proposal by name, see `pool_scores`.
        seconds: duration of search and evaluation.
    """

    advised: Proposal | None
    search_best: Proposal
    gain: Estimate
    paper_gain: Estimate
    seeds: int
    rounds: list[dict[str, float]]
    seconds: float


def advise(
    protocol: ExperimentProtocol,
    deployment: Deployment,
    scheduler: TrialScheduler,
    *,
    budget_seconds: float,
    progress: ExperimentProgress,
) -> Advice:
    """Searches for the best proposal on the tuning spans; evaluates it on the reporting spans.

    The paper's advice is evaluated too.

    Args:
        protocol: sets the spans and the batch size.
        deployment: sets all other training settings. It has the protocol's task weights, see `load_protocol`.
        scheduler: runs trials.
        budget_seconds: the time budget. The first round of the search and the evaluation with the smallest
            number of seeds run even if they exceed it.
        progress: prints progress lines.
    """
    started = time.monotonic()

    def seconds_spent() -> float:
        return time.monotonic() - started

    proposal_runner = ProposalRunner(protocol, deployment, scheduler, progress.print_line)
    all_proposals = proposals()
    rounds = halve(
        all_proposals, proposal_runner.scores, pool_scores, proposal_runner.forecast,
        lambda: _SEARCH_SHARE * budget_seconds - seconds_spent(), seconds_spent,
    )  # fmt: skip
    for number, search_round in enumerate(rounds, start=1):
        best, score = next(iter(search_round.scores.items()))
        num_proposals, seconds = len(search_round.scores), search_round.seconds
        progress.print_line(
            f"round {number}: {num_proposals} proposals, {seconds:.0f} s; best {best.name}, gain {score:+.4f}"
        )
    search_best, papers_advice = next(iter(rounds[-1].scores)), all_proposals[0]
    seeds = proposal_runner.affordable_seeds(budget_seconds - seconds_spent())
    progress.print_line(f"evaluating {search_best.name} with {seeds} seeds")
    control = None
    # In a dict, equal proposals are one key.
    criteria = proposal_runner.reported_criteria(
        dict.fromkeys((search_best, papers_advice, control)), range(seeds)
    )
    gain, paper_gain = (
        proposal_runner.difference(criteria[proposal], criteria[control])
        for proposal in (search_best, papers_advice)
    )
    return Advice(
        advised=best_with_evidence({search_best: gain, papers_advice: paper_gain}),
        search_best=search_best,
        gain=gain,
        paper_gain=paper_gain,
        seeds=seeds,
        rounds=[
            {proposal.name: score for proposal, score in search_round.scores.items()}
            for search_round in rounds
        ],
        seconds=seconds_spent(),
    )


def best_with_evidence(gains: Mapping[Proposal, Estimate]) -> Proposal | None:
    """The proposal with the largest gain, of those whose interval lies above 0; None if no interval does."""
    with_evidence = [
        proposal
        for proposal, gain in gains.items()
        if gain.users_and_seeds is not None and gain.users_and_seeds[0] > 0
    ]
    return max(with_evidence, key=lambda proposal: gains[proposal].value, default=None)


def write_advice(
    advice: Advice, protocol: ExperimentProtocol, deployment: Deployment, config: Path, out: Path
) -> str:
    """Writes `advice.json`; also writes `recommended.yaml` if there is evidence for a proposal.

    Args:
        advice: the result of the search.
        protocol: the protocol of the search.
        deployment: the deployment whose student is distilled.
        config: the deployment's file.
        out: the folder of both files.

    Returns:
        The advice and its evidence in one line. The line also names each surface with the key `student`:
        trials do not use these settings, and `recommended.yaml` does not change them.
    """
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "advised": advice.advised.name if advice.advised else None,
        "search_best": dataclasses.asdict(advice.search_best),
        "gain": dataclasses.asdict(advice.gain),
        "paper_gain": dataclasses.asdict(advice.paper_gain),
        "seeds": advice.seeds,
        "rounds": advice.rounds,
        "seconds": advice.seconds,
    }
    (out / "advice.json").write_text(json.dumps(document, indent=1))
    evidence = (
        f"criterion minus the control's with {advice.seeds} seeds: "
        f"{advice.search_best.name} {_gain_text(advice.gain)}, "
        f"the paper's advice {_gain_text(advice.paper_gain)}; {advice.seconds:.0f} s spent"
    )
    if advice.advised is None:
        return f"No evidence that distillation helps: {evidence}."
    recommended = out / "recommended.yaml"
    settings = _recommended_document(advice.advised, protocol, deployment, config)
    recommended.write_text(yaml.safe_dump(settings, sort_keys=False))
    own = [
        f"surfaces.{name}.student"
        for name, surface in deployment.surfaces.items()
        if surface.student is not None
    ]
    notice = f" Not evaluated and not changed: {', '.join(own)}." if own else ""
    return f"Advice: {advice.advised.name}. Evidence: {evidence}. Configuration: {recommended}{notice}"


def _recommended_document(
    advised: Proposal, protocol: ExperimentProtocol, deployment: Deployment, config: Path
) -> Mapping[str, Any]:
    """The content of the deployment's file with the evaluated settings.

    These are the advised distillation, the teacher's evaluated architecture, and the protocol's batch size
    and task weights. `schema` becomes an absolute path, because the new file is in another folder.
    """
    document = read_document(config)
    hyperparameters = deployed_hyperparameters(deployment.teacher)
    teacher_job = advised.teacher.job(deployment, deployment.seed, protocol.batch_size, hyperparameters)
    document["schema"] = deployment.schema
    document["teacher"]["architecture"] = json.loads(to_json(teacher_job.architecture))
    for model in ("teacher", "student"):
        document[model]["batch_size"] = protocol.batch_size
    for name, task in deployment.tasks.items():
        # `load_protocol` has merged the protocol's task weights into `deployment`.
        document["tasks"][name]["weight"] = task.weight
    document["student"]["distillation"] = {
        name: {"strategy": advised.strategy, "weight": advised.weight * deployment.tasks[name].weight}
        for name in distillable_tasks(deployment, GROUPS[advised.groups])
    }
    return document


def _gain_text(gain: Estimate) -> str:
    low_and_high = gain.users_and_seeds
    interval = f" [{low_and_high[0]:+.4f}, {low_and_high[1]:+.4f}]" if low_and_high else ""
    return f"{gain.value:+.4f}{interval}"
