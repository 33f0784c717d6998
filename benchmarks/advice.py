"""Compares the advice of `rankdistill advise` with the best proposal in ten simulated worlds.

Usage: `python -m benchmarks.advice --out DIR [--minutes 3] [--worlds default,newcomers]`. For each world:

1. Run `advise` with the budget.
2. Evaluate every proposal on the reporting spans, with seeds that `advise` has not used.
3. Evaluate the best proposals of step 2, the paper's advice and the search's best proposal with more seeds.

The best answer is the proposal with the largest mean criterion, or "none" if no mean is above the control's.
Regret is the criterion of the best answer minus the criterion of the advised proposal. If nothing is advised,
regret is the criterion of the best answer minus the control's. A rerun skips the finished worlds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from eventlog.simulator import World, simulate
from experiments.advice.advising import Advice, advise
from experiments.advice.proposal_runner import ProposalRunner
from experiments.advice.proposals import Proposal, proposals
from experiments.protocol.settings import load_protocol
from experiments.statistics.influence import MetricValue
from experiments.trials.progress import ExperimentProgress
from experiments.trials.scheduler import TrialScheduler

WORLDS = {
    "default": World(),
    "lasting": World(taste_strength=1.4, taste_drift=0.0, base_drift=0.0),
    "restless": World(taste_drift=1.2, taste_persistence=0.5, base_drift=0.6, base_persistence=0.5),
    "clickbait": World(clickbait_authors=0.4, clickbait_click=2.0, clickbait_satisfaction=2.5),
    "all-alike": World(user_spread=0.0, video_spread=0.0, taste_strength=0.0, clickbait_authors=0.0),
    "well-known": World(user_spread=1.5, video_spread=1.2, impressions_per_user=5, impressions_per_video=20),
    "newcomers": World(new_users=0.3, new_videos=0.4),
    "biased-ltv": World(logging_bias=1.5, logging_bias_persistence=0.95),
    "noisy-ltv": World(activity_noise=2.0, logging_noise=1.0),
    "rare-visitors": World(impressions_per_user=0.3, impressions_per_video=2.0),
}
"""Name → settings of a world. The settings were fixed before the first run."""
NUM_SPANS = 9
FIRST_SEED = 100
"""First of the seeds that evaluate the proposals; `advise` uses smaller seeds."""
NUM_FINALISTS = 6
NO_PROPOSAL = "none"


@dataclasses.dataclass(frozen=True)
class WorldResult:
    """Quality of the advice in one world.

    Attributes:
        best: name of the best answer; "none" for the control.
        advised: name of the advised proposal; "none" if nothing is advised.
        within_noise: whether the advice is the best answer, or the interval of their difference contains 0.
        regret: criterion of the best answer minus the criterion of `advised`.
        paper_regret: criterion of the best answer minus the criterion of the paper's advice.
        gain: criterion of the best answer minus the control's criterion.
        paper_gain: criterion of the paper's advice minus the control's criterion.
    """

    best: str
    advised: str
    within_noise: bool
    regret: float
    paper_regret: float
    gain: float
    paper_gain: float


def main() -> None:
    """Runs the worlds and prints the result of each, then the means over all worlds."""
    # Imported here: worker processes also import this module, and importing Beam and Transform takes seconds.
    from experiments.trials.loading import load_stream

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for logs, trials and results")
    parser.add_argument("--minutes", type=float, default=3.0, help="budget of `advise` in each world")
    parser.add_argument("--worlds", default=",".join(WORLDS), help="names of worlds, separated by commas")
    parser.add_argument("--examples-per-span", type=int, default=1500, help="fresh rows of a span")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs=2,
        default=(2, 8),
        help="number of seeds for all proposals, and for the best of them",
    )
    parser.add_argument(
        "--config", type=Path, default=Path("experiments/configs/simulator.yaml"), help="the protocol"
    )
    arguments = parser.parse_args()
    protocol, deployment = load_protocol(arguments.config)
    protocol = dataclasses.replace(protocol, reporting=f"{protocol.reporting_spans.start}:{NUM_SPANS - 1}")
    results: dict[str, WorldResult] = {}
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        for name in arguments.worlds.split(","):
            folder = arguments.out / name
            file = folder / "found.json"
            if not file.is_file():
                progress.print_line(f"world {name}")
                simulate(
                    folder / "events", NUM_SPANS, arguments.examples_per_span, seed=1, world=WORLDS[name]
                )
                stream = load_stream(deployment, folder / "events", folder / "streams")
                with TrialScheduler(stream, folder / "trials", 2, progress.on_done) as scheduler:
                    advice = advise(
                        protocol, deployment, scheduler,
                        budget_seconds=60 * arguments.minutes, progress=progress,
                    )  # fmt: skip
                    proposal_runner = ProposalRunner(protocol, deployment, scheduler, progress.print_line)
                    result = evaluate(proposal_runner, advice, arguments.seeds, progress)
                file.write_text(json.dumps(dataclasses.asdict(result)))
            results[name] = WorldResult(**json.loads(file.read_text()))
            print(f"{name}: {results[name]}", flush=True)
    print(f"BENCH {json.dumps(summary(list(results.values())))}")


def evaluate(
    proposal_runner: ProposalRunner, advice: Advice, num_seeds: tuple[int, int], progress: ExperimentProgress
) -> WorldResult:
    """Compares the advice with all proposals and the control.

    `num_seeds` has the numbers of seeds in step 2 and in step 3.
    """
    papers_advice = proposals()[0]
    few_seeds, many_seeds = (range(FIRST_SEED, FIRST_SEED + number) for number in num_seeds)
    progress.print_line("evaluating every proposal")
    means = {
        proposal: _mean(by_seed)
        for proposal, by_seed in proposal_runner.reported_criteria(proposals(), few_seeds).items()
    }
    finalists = sorted(means, key=lambda proposal: -means[proposal])[:NUM_FINALISTS]
    progress.print_line("evaluating the best proposals with more seeds")
    arms: list[Proposal | None] = [None, *dict.fromkeys([*finalists, papers_advice, advice.search_best])]
    criteria = proposal_runner.reported_criteria(arms, many_seeds)
    # The control is among the arms, with a gain of 0.
    gains = {arm: _mean(criteria[arm]) - _mean(criteria[None]) for arm in arms}
    best = max(gains, key=lambda arm: gains[arm])
    lead = proposal_runner.difference(criteria[best], criteria[advice.advised])
    return WorldResult(
        best=_name(best),
        advised=_name(advice.advised),
        within_noise=best == advice.advised or lead.users_and_seeds is None or lead.users_and_seeds[0] <= 0,
        regret=gains[best] - gains[advice.advised],
        paper_regret=gains[best] - gains[papers_advice],
        gain=gains[best],
        paper_gain=gains[papers_advice],
    )


def summary(results: list[WorldResult]) -> dict[str, object]:
    """Returns the results that `main` prints.

    `saved` is the mean regret of the paper's advice minus the mean regret of `advise`, then the ends of its
    95 % interval, which resamples worlds.
    """
    saved = np.array([result.paper_regret - result.regret for result in results])
    draws = np.random.default_rng(0).integers(0, len(results), (2000, len(results)))
    low, high = np.percentile(saved[draws].mean(axis=1), [2.5, 97.5])
    return {
        "name": "advice",
        "worlds": len(results),
        "best_answers": len({result.best for result in results}),
        "found_best_or_within_noise": sum(result.within_noise for result in results),
        "regret": float(np.mean([result.regret for result in results])),
        "paper_regret": float(np.mean([result.paper_regret for result in results])),
        "saved": [float(saved.mean()), float(low), float(high)],
    }


def _mean(criteria: list[MetricValue]) -> float:
    return float(np.mean([criterion.value for criterion in criteria]))


def _name(proposal: Proposal | None) -> str:
    return proposal.name if proposal else NO_PROPOSAL


if __name__ == "__main__":
    main()
