"""`rankdistill online`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from eventlog.errors import BadInput
from experiments.commands.options import processes_option
from pipeline.commands.options import FILE, FOLDER

if TYPE_CHECKING:
    from experiments.online.effects import Change
    from experiments.online.live import LiveExperiment, Policy
    from pipeline.config import Deployment

_COUNT = click.IntRange(min=1)


@click.command()
@click.option("--config", type=FILE, required=True, help="The deployment whose models rank.")
@click.option("--arms", default="control,student", show_default=True, help="control,student,teacher")
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Runs of every arm.")
@click.option("--world", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the world.")
@click.option("--spans", type=_COUNT, default=10, show_default=True, help="Spans of the log.")
@click.option("--examples-per-span", type=_COUNT, default=6000, show_default=True, help="Rows learnt a span.")
@click.option("--visits", type=_COUNT, default=2000, show_default=True, help="Visits ranked on each span.")
@click.option("--aa-runs", type=click.IntRange(min=0), default=200, show_default=True, help="A/A runs.")
@click.option("--replay", type=FOLDER, help="Replay on this log's random exposures; nothing is simulated.")
@click.option(
    "--share",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Of the random exposures that a policy shows.",
)
@processes_option
@click.option("--out", type=FOLDER, required=True, help="Log, trials and results; again: goes on.")
def online(
    config: Path, arms: str, seeds: int, world: int, spans: int, examples_per_span: int, visits: int,
    aa_runs: int, replay: Path | None, share: float, processes: int, out: Path,
) -> None:  # fmt: skip
    """A live experiment, simulated or replayed: what distillation changes, against the control."""
    from experiments.online.effects import mean_changes
    from experiments.online.live import Setting, changes, run_live
    from experiments.online.policies import CONTROL
    from experiments.online.replay import run_replay
    from experiments.trials.progress import ExperimentProgress
    from pipeline.config_file import load_deployment

    deployment, names = load_deployment(config), _arms(arms)
    checks: list[dict[str, Any]] = []
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        if replay is not None:
            totals = run_replay(
                deployment, replay, names, out, share=share, seeds=seeds, processes=processes,
                progress=progress,
            )  # fmt: skip
            found = {
                arm: mean_changes(list(zip(of_arm, totals[CONTROL], strict=True)))
                for arm, of_arm in totals.items()
            }
        else:
            _require_spans(spans, deployment)
            setting = Setting(
                spans=spans, examples_per_span=examples_per_span, visits=visits, world_seed=world
            )
            experiment, policies = run_live(
                deployment, setting, names, out, seeds=seeds, processes=processes, progress=progress
            )
            found = {arm: changes(experiment, policies[arm], policies[CONTROL], luck=0) for arm in names}
            checks = _checks(experiment, policies[CONTROL][0], aa_runs) if aa_runs else []
    rows = _told({arm: changed for arm, changed in found.items() if arm != CONTROL})
    (out / "online.json").write_text(json.dumps({"changes": rows, "checks": checks}, indent=1))


def _arms(told: str) -> list[str]:
    from experiments.online.policies import ARMS, CONTROL

    names = told.split(",")
    if not set(names) <= set(ARMS) or CONTROL not in names or len(names) < 2:
        raise BadInput(
            "arms cannot be compared", where="--arms", expected=f"control and more of {', '.join(ARMS)}",
            got=told, fix="Name the control and at least one other.",
        )  # fmt: skip
    return names


def _require_spans(spans: int, deployment: Deployment) -> None:
    least = deployment.burn_in_spans[-1] + 3
    if spans < least:
        raise BadInput(
            "too few spans", where="--spans", expected=f"at least {least}, two behind the burn-in "
            f"{deployment.burn_in}", got=str(spans), fix="Ask for more spans.",
        )  # fmt: skip


def _told(found: Mapping[str, Mapping[str, Change]]) -> list[dict[str, Any]]:
    rows = []
    for arm, by_measure in found.items():
        for measure, changed in by_measure.items():
            low, high = changed.interval
            click.echo(f"{arm} {measure}: {changed.value:+.2%} [{low:+.2%}, {high:+.2%}]")
            rows.append({"arm": arm, "measure": measure, **dataclasses.asdict(changed)})
    return rows


def _checks(experiment: LiveExperiment, policy: Policy, runs: int) -> list[dict[str, Any]]:
    """False alarms of A/A runs, and how often a change of 1 % is found, beside the power that is stated."""
    from experiments.online.live import same_policy

    found = []
    nothing, raised = (same_policy(experiment, policy, runs, effect) for effect in (0.0, 0.01))
    for measure, of_measure in nothing.items():
        alarms = sum(one.excludes_zero for one in of_measure) / runs
        hits = sum(one.excludes_zero and one.value > 0 for one in raised[measure]) / runs
        power = sum(one.power(0.01) for one in of_measure) / runs
        click.echo(
            f"{measure}: {alarms:.1%} false alarms in {runs} A/A runs; +1 % found in {hits:.1%}, "
            f"stated power {power:.1%}"
        )
        found.append({"measure": measure, "false_alarms": alarms, "found": hits, "power": power})
    return found
