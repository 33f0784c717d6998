"""Measures whether the processes of `rankdistill fleet` keep up with one span per minute.

Starts the fleet (the teacher's loop and two students' loops) and adds spans to its log. Prints for each span
the seconds from its completion in the log until the last branch has finished it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.span_overhead import write_deployment
from components.span_records import recorded_spans
from eventlog.simulator import simulate
from pipeline.driver.fleet import LoopProcess, plan_processes
from pipeline.paths import RunPaths

BURN_IN = 2
EXAMPLES = 2_000
SPANS = 10
MEMORY_GIB = 12.0
_START_SECONDS = 600
_POLL_SECONDS = 0.5


def main() -> None:
    """Adds spans to the log while the fleet runs, and prints the BENCH line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=int, default=SPANS, help="number of spans after the warm-up")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two spans")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="fresh rows of a span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        figures = measure(Path(folder), arguments.spans, arguments.every, arguments.examples)
    print("BENCH " + json.dumps({"name": "fleet", **figures}))


def measure(folder: Path, spans: int, every: float, examples: int) -> dict[str, Any]:
    """Returns, as `seconds`, each span's time from its completion in the log to the end of its branches."""
    deployment = write_deployment(folder, BURN_IN)
    members = plan_processes(deployment, 2, MEMORY_GIB)
    whole, log, root = folder / "whole", folder / "log", folder / "root"
    # One span more for the warm-up: every process traces its graphs in the first span after the burn-in.
    simulate(whole, spans=BURN_IN + 1 + spans, examples_per_span=examples, seed=1)
    log.mkdir()
    for span in range(BURN_IN + 1):
        _publish(whole, log, span)
    command = [sys.executable, "-m", "rankdistill", "fleet", "--config", str(folder / "deployment.yaml")]
    command += ["--events", str(log), "--root", str(root), "--memory-gib", str(MEMORY_GIB)]
    fleet = subprocess.Popen(command)
    try:
        _wait_for(members, root, log, BURN_IN, _START_SECONDS)
        seconds = _feed(members, whole, log, root, spans, every)
    finally:
        fleet.send_signal(signal.SIGTERM)
        fleet.wait()
    return {
        "processes": len(members),
        "every": every,
        "seconds": seconds,
        "longest": max(seconds),
        "kept_up": max(seconds) < every,
    }


def _feed(
    members: Sequence[LoopProcess], whole: Path, log: Path, root: Path, spans: int, every: float
) -> list[float]:
    """Adds a span to the log every `every` seconds, even if others are unfinished; returns their seconds."""
    start = time.monotonic()
    seconds: dict[int, float] = {}
    published = 0
    while len(seconds) < spans:
        if published < spans and time.monotonic() - start >= published * every:
            _publish(whole, log, BURN_IN + 1 + published)
            published += 1
        for number in range(len(seconds), published):
            if not _is_finished(members, root, log, BURN_IN + 1 + number):
                break
            seconds[number] = round(time.monotonic() - start - number * every, 1)
            print(f"span {BURN_IN + 1 + number}: {seconds[number]} s", flush=True)
        if time.monotonic() - start > 2 * spans * every:
            raise TimeoutError(
                f"only {len(seconds)} of {spans} spans are finished after {2 * spans * every} s."
            )
        time.sleep(_POLL_SECONDS)
    return list(seconds.values())


def _publish(whole: Path, log: Path, span: int) -> None:
    (whole / f"span={span}").rename(log / f"span={span}")


def _is_finished(members: Sequence[LoopProcess], root: Path, log: Path, span: int) -> bool:
    return all(
        span in recorded_spans(RunPaths(root / member.name, log).records, branch)
        for member in members
        for branch in member.branches
    )


def _wait_for(members: Sequence[LoopProcess], root: Path, log: Path, span: int, limit_seconds: float) -> None:
    started = time.monotonic()
    while not _is_finished(members, root, log, span):
        if time.monotonic() - started > limit_seconds:
            logs = "\n".join((root / f"{member.name}.log").read_text()[-2000:] for member in members)
            raise TimeoutError(f"span {span} is not finished after {limit_seconds} s.\n{logs}")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
