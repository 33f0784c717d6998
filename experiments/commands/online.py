"""`rankdistill online`: compares policies in a live experiment, simulated or replayed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from eventlog.errors import BadInput
from experiments.commands.options import processes_option, seeds_option
from pipeline.commands.options import FOLDER, FiniteRange, config_option

if TYPE_CHECKING:
    from experiments.online.effects import Change
    from experiments.online.live import LiveExperiment, Policy
    from pipeline.config import Deployment

_COUNT = click.IntRange(min=1)
_COUNT_OR_ZERO = click.IntRange(min=0)
_SHARE = FiniteRange(min=0, max=1, min_open=True, max_open=True)


@click.command()
@config_option
@click.option(
    "--arms",
    "arm_list",
    default="control,student",
    show_default=True,
    help="Models to compare, separated by commas: control and at least one of student and teacher.",
)
@seeds_option(default=5)
@click.option(
    "--world",
    type=_COUNT_OR_ZERO,
    default=1,
    show_default=True,
    help="Seed of the simulated world.",
)
@click.option("--spans", type=_COUNT, default=10, show_default=True, help="Number of spans to simulate.")
@click.option(
    "--examples-per-span",
    type=_COUNT,
    default=6000,
    show_default=True,
    help="Number of simulated training examples in each span.",
)
@click.option(
    "--visits",
    type=_COUNT,
    default=2000,
    show_default=True,
    help="Number of visits that every model ranks in each span.",
)
@click.option(
    "--aa-runs",
    type=_COUNT_OR_ZERO,
    default=200,
    show_default=True,
    help="Number of A/A runs, which compare the control with itself to check the intervals; 0 for no check.",
)
@click.option(
    "--replay",
    type=FOLDER,
    help="Event log with random exposures, which replaces the simulated world. --world, --spans, "
    "--examples-per-span, --visits and --aa-runs are then ignored.",
)
@click.option(
    "--share",
    type=_SHARE,
    default=0.2,
    show_default=True,
    help="With --replay: share of each span's random exposures that count for a model. The exposures that "
    "the model scores highest count.",
)
@processes_option
@click.option(
    "--out",
    type=FOLDER,
    required=True,
    help="Output folder for the simulated log, trials and online.json. A rerun resumes.",
)
def online(
    config_file: Path, arm_list: str, seeds: int, world: int, spans: int, examples_per_span: int, visits: int,
    aa_runs: int, replay: Path | None, share: float, processes: int, out: Path,
) -> None:  # fmt: skip
    """Compare models in an A/B experiment, simulated or replayed from a log.

    Prints by how many percent each of the deployment's `ranking.measures` changes if a model ranks instead of
    the control.
    """
    from experiments.online.effects import mean_changes
    from experiments.online.live import LiveSettings, live_changes, run_live
    from experiments.online.policies import CONTROL
    from experiments.online.replay import run_replay
    from experiments.trials.progress import ExperimentProgress
    from pipeline.config_file import load_deployment

    deployment, arms = load_deployment(config_file), _parse_arms(arm_list)
    treated = [arm for arm in arms if arm != CONTROL]
    checks: list[dict[str, Any]] = []
    with ExperimentProgress(Console(stderr=True, soft_wrap=True)) as progress:
        if replay is not None:
            totals = run_replay(
                deployment, replay, arms, out, share=share, seeds=seeds, processes=processes,
                progress=progress,
            )  # fmt: skip
            by_arm = {
                arm: mean_changes(list(zip(totals[arm], totals[CONTROL], strict=True))) for arm in treated
            }
        else:
            _require_spans(spans, deployment)
            settings = LiveSettings(
                num_spans=spans, examples_per_span=examples_per_span, num_visits=visits, world_seed=world
            )
            experiment, policies = run_live(
                deployment, settings, arms, out, seeds=seeds, processes=processes, progress=progress
            )
            by_arm = {
                arm: live_changes(experiment, policies[arm], policies[CONTROL], outcome_seed=0)
                for arm in treated
            }
            checks = _check_intervals(experiment, policies[CONTROL][0], aa_runs) if aa_runs else []
    document = {"changes": _print_changes(by_arm), "checks": checks}
    (out / "online.json").write_text(json.dumps(document, indent=1))


def _parse_arms(arm_list: str) -> list[str]:
    from experiments.online.policies import ARMS, CONTROL

    arms = arm_list.split(",")
    if not set(arms) <= set(ARMS) or CONTROL not in arms or len(arms) < 2 or len(set(arms)) < len(arms):
        raise BadInput(
            "arms cannot be compared", where="--arms", got=arm_list,
            expected=f"control and at least one other of {', '.join(ARMS)}, each once",
            fix="Name the control and at least one other arm.",
        )  # fmt: skip
    return arms


def _require_spans(spans: int, deployment: Deployment) -> None:
    minimum = deployment.burn_in_spans[-1] + 3
    if spans < minimum:
        raise BadInput(
            "too few spans", where="--spans", got=str(spans), fix=f"Use --spans {minimum} or more.",
            expected=f"at least {minimum}: two after the burn-in {deployment.burn_in}",
        )  # fmt: skip


def _print_changes(by_arm: Mapping[str, Mapping[str, Change]]) -> list[dict[str, Any]]:
    """Prints the changes; returns them as JSON objects."""
    rows = []
    for arm, by_measure in by_arm.items():
        for measure, change in by_measure.items():
            low, high = change.interval
            click.echo(f"{arm} {measure}: {change.value:+.2%} [{low:+.2%}, {high:+.2%}]")
            rows.append({"arm": arm, "measure": measure, **dataclasses.asdict(change)})
    return rows


def _check_intervals(experiment: LiveExperiment, policy: Policy, runs: int) -> list[dict[str, Any]]:
    """Prints and returns, for each measure, the results of A/A runs of the policy.

    The results are the rate of false alarms, the rate of detected changes of 1 %, and the power. The power is
    the detection rate that the standard errors imply.
    """
    from experiments.online.live import aa_changes

    rows = []
    unchanged, increased = (aa_changes(experiment, policy, runs, effect) for effect in (0.0, 0.01))
    for measure, changes in unchanged.items():
        false_alarms = sum(change.excludes_zero for change in changes) / runs
        detected = sum(change.excludes_zero and change.value > 0 for change in increased[measure]) / runs
        power = sum(change.power(0.01) for change in changes) / runs
        click.echo(
            f"{measure}: {false_alarms:.1%} false alarms in {runs} A/A runs; "
            f"a change of +1 % detected in {detected:.1%}, expected power {power:.1%}"
        )
        rows.append({"measure": measure, "false_alarms": false_alarms, "found": detected, "power": power})
    return rows
