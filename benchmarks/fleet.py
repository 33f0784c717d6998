"""Measures whether the processes of `rankdistill fleet` keep up with one span per minute.

Starts `rankdistill fleet` (a process for the teacher, two for students) and adds spans to the event log.
Prints for each span the seconds from its arrival in the log to the end of its last branch.
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

NUM_BURN_IN_SPANS = 2
EXAMPLES_PER_SPAN = 2_000
NUM_SPANS = 10
MEMORY_GIB = 12.0
_START_SECONDS = 600
_POLL_SECONDS = 0.5


def main() -> None:
    """Adds spans to the log while the fleet runs, and prints the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=int, default=NUM_SPANS, help="number of spans after the warm-up")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two spans")
    parser.add_argument("--examples", type=int, default=EXAMPLES_PER_SPAN, help="fresh rows of a span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        figures = measure(Path(folder), arguments.spans, arguments.every, arguments.examples)
    print("BENCH " + json.dumps({"name": "fleet", **figures}))


def measure(folder: Path, num_spans: int, every_seconds: float, examples: int) -> dict[str, Any]:
    """Returns the results; `seconds` has for each span the time from its arrival in the log to its end."""
    deployment = write_deployment(folder, NUM_BURN_IN_SPANS)
    loops = plan_processes(deployment, 2, MEMORY_GIB)
    prepared, log, root = folder / "prepared", folder / "log", folder / "root"
    # One more span for the warm-up: every process traces its graphs in the first span after the burn-in.
    simulate(prepared, spans=NUM_BURN_IN_SPANS + 1 + num_spans, examples_per_span=examples, seed=1)
    log.mkdir()
    for span in range(NUM_BURN_IN_SPANS + 1):
        _move_span(prepared, log, span)
    command = [sys.executable, "-m", "rankdistill", "fleet", "--config", str(folder / "deployment.yaml")]
    command += ["--events", str(log), "--root", str(root), "--memory-gib", str(MEMORY_GIB)]
    fleet = subprocess.Popen(command)
    try:
        _wait_for(loops, root, log, NUM_BURN_IN_SPANS, _START_SECONDS)
        seconds = _add_spans(loops, prepared, log, root, num_spans, every_seconds)
    finally:
        fleet.send_signal(signal.SIGTERM)
        fleet.wait()
    return {
        "processes": len(loops),
        "every": every_seconds,
        "seconds": seconds,
        "longest": max(seconds),
        "kept_up": max(seconds) < every_seconds,
    }


def _add_spans(
    loops: Sequence[LoopProcess], prepared: Path, log: Path, root: Path, num_spans: int, every_seconds: float
) -> list[float]:
    """Adds a span to the log every `every_seconds`, even if earlier spans are unfinished.

    Returns:
        For each span, the seconds from its arrival in the log to its end.

    Raises:
        TimeoutError: if the spans take longer than `2 * num_spans * every_seconds`.
    """
    start, limit_seconds = time.monotonic(), 2 * num_spans * every_seconds
    seconds: dict[int, float] = {}
    num_added = 0
    while len(seconds) < num_spans:
        if num_added < num_spans and time.monotonic() - start >= num_added * every_seconds:
            _move_span(prepared, log, NUM_BURN_IN_SPANS + 1 + num_added)
            num_added += 1
        for number in range(len(seconds), num_added):
            if not _is_finished(loops, root, log, NUM_BURN_IN_SPANS + 1 + number):
                break
            seconds[number] = round(time.monotonic() - start - number * every_seconds, 1)
            print(f"span {NUM_BURN_IN_SPANS + 1 + number}: {seconds[number]} s", flush=True)
        if time.monotonic() - start > limit_seconds:
            raise TimeoutError(
                f"only {len(seconds)} of {num_spans} spans are finished after {limit_seconds} s."
            )
        time.sleep(_POLL_SECONDS)
    return list(seconds.values())


def _move_span(prepared: Path, log: Path, span: int) -> None:
    (prepared / f"span={span}").rename(log / f"span={span}")


def _is_finished(loops: Sequence[LoopProcess], root: Path, log: Path, span: int) -> bool:
    return all(
        span in recorded_spans(RunPaths(root / loop.name, log).records, branch)
        for loop in loops
        for branch in loop.branches
    )


def _wait_for(loops: Sequence[LoopProcess], root: Path, log: Path, span: int, limit_seconds: float) -> None:
    started = time.monotonic()
    while not _is_finished(loops, root, log, span):
        if time.monotonic() - started > limit_seconds:
            logs = "\n".join((root / f"{loop.name}.log").read_text()[-2000:] for loop in loops)
            raise TimeoutError(f"span {span} is not finished after {limit_seconds} s.\n{logs}")
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
