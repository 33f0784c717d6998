"""Whether `rankdistill advise` finds what is best in ten simulated worlds, and beats the paper's advice.

Usage: `python -m benchmarks.advice --out DIR [--minutes 3] [--worlds default,newcomers]`. Each world is
advised in the budget. Then every candidate is run with seeds that the advice did not see, on the stretch that
its search did not see (between its best, the paper's advice and none it chooses there); the best few, the
paper's advice and the one advised with more seeds. What is best is "none" where no candidate's mean is above
the control's. Regret is what the best has over the answer, in the criterion; "no evidence" means the control.
A world that is done is not done again.
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
from experiments.advice.bench import Bench
from experiments.advice.candidates import Candidate, candidates
from experiments.protocol.settings import load_experiment
from experiments.statistics.influence import Figure
from experiments.trials.progress import ExperimentProgress
from experiments.trials.schedule import Schedule

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
"""Written down before any was run."""
SPANS = 9
FIRST_SEED = 100
"""Of the truth."""
FINALISTS = 6
NONE = "none"


@dataclasses.dataclass(frozen=True)
class Found:
    """One world's outcome.

    Attributes:
        best: the name of what is best.
        answer: the name of what was advised.
        within_noise: whether the answer is the best or the interval of what the best has over it holds 0.
        regret, default_regret: what the best has over the answer, and over the paper's advice.
        gain, default_gain: of the best and of the paper's advice over the control.
    """

    best: str
    answer: str
    within_noise: bool
    regret: float
    default_regret: float
    gain: float
    default_gain: float


def main() -> None:
    """Runs the worlds and prints; the last line is for machines."""
    # Workers import this module: Beam and Transform, which they do not need, would cost the budget seconds.
    from experiments.trials.loading import load_stream

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    parser.add_argument("--examples-per-span", type=int, default=1500)
    parser.add_argument(
        "--seeds", type=int, nargs=2, default=(2, 8), help="of all candidates, of the finalists"
    )
    parser.add_argument("--config", type=Path, default=Path("experiments/configs/simulator.yaml"))
    arguments = parser.parse_args()
    experiment, deployment = load_experiment(arguments.config)
    experiment = dataclasses.replace(experiment, reporting=f"{experiment.reporting_spans.start}:{SPANS - 1}")
    outcomes: dict[str, Found] = {}
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        for name in arguments.worlds.split(","):
            folder = arguments.out / name
            kept = folder / "found.json"
            if not kept.is_file():
                progress.say(f"world {name}")
                simulate(folder / "events", SPANS, arguments.examples_per_span, seed=1, world=WORLDS[name])
                stream = load_stream(deployment, folder / "events", folder / "streams")
                with Schedule(stream, folder / "trials", 2, progress.on_done) as schedule:
                    advice = advise(
                        experiment, deployment, schedule,
                        budget_seconds=60 * arguments.minutes, progress=progress,
                    )  # fmt: skip
                    bench = Bench(experiment, deployment, schedule, progress.say)
                    found = judged(bench, advice, arguments.seeds, progress)
                kept.write_text(json.dumps(dataclasses.asdict(found)))
            outcomes[name] = Found(**json.loads(kept.read_text()))
            print(f"{name}: {outcomes[name]}", flush=True)
    print(f"BENCH {json.dumps(summary(list(outcomes.values())))}")


def judged(bench: Bench, advice: Advice, seeds: tuple[int, int], progress: ExperimentProgress) -> Found:
    """Holds the advice against every candidate."""
    default = candidates()[0]
    progress.say("judging every candidate")
    few, many = (range(FIRST_SEED, FIRST_SEED + count) for count in seeds)
    first = {one: _mean(own) for one, own in bench.figures(candidates(), few).items()}
    finalists = sorted(first, key=lambda one: -first[one])[:FINALISTS]
    progress.say("judging the best again")
    asked: list[Candidate | None] = [None, *dict.fromkeys([*finalists, default, advice.candidate])]
    figures = bench.figures(asked, many)
    gains = {one: _mean(own) - _mean(figures[None]) for one, own in figures.items()}
    # The control is among them, with a gain of 0.
    best = max(gains, key=lambda one: gains[one])
    ahead = bench.less(figures[best], figures[advice.best])
    return Found(
        best=_name(best),
        answer=_name(advice.best),
        within_noise=best == advice.best or ahead.both is None or ahead.both[0] <= 0,
        regret=gains[best] - gains[advice.best],
        default_regret=gains[best] - gains[default],
        gain=gains[best],
        default_gain=gains[default],
    )


def summary(found: list[Found]) -> dict[str, object]:
    """What the ten worlds say together."""
    saved = np.array([one.default_regret - one.regret for one in found])
    draws = np.random.default_rng(0).integers(0, len(found), (2000, len(found)))
    low, high = np.percentile(saved[draws].mean(axis=1), [2.5, 97.5])
    return {
        "name": "advice",
        "worlds": len(found),
        "best_answers": len({one.best for one in found}),
        "found_best_or_within_noise": sum(one.within_noise for one in found),
        "regret": float(np.mean([one.regret for one in found])),
        "default_regret": float(np.mean([one.default_regret for one in found])),
        "saved": [float(saved.mean()), float(low), float(high)],
    }


def _mean(figures: list[Figure]) -> float:
    return float(np.mean([figure.value for figure in figures]))


def _name(candidate: Candidate | None) -> str:
    return candidate.name if candidate else NONE


if __name__ == "__main__":
    main()
