"""Measures the memory of a process and its seconds per span, over a hundred small spans."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import mean

from benchmarks.span_overhead import write_deployment

EXAMPLES_PER_SPAN = 300
NUM_SPANS = 100
NUM_WARM_UP_SPANS = 10
"""Number of spans until all graphs are traced. Memory growth is measured from then to the last span."""
NUM_BURN_IN_SPANS = 2
_KIB_PER_MIB = 1024


def main() -> None:
    """Runs the spans one by one, writes `metrics.prom` after each, and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=NUM_SPANS, help="number of spans after the burn-in")
    parser.add_argument("--examples", type=int, default=EXAMPLES_PER_SPAN, help="fresh rows of a span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="micro-spans-") as folder:
        figures = measure(Path(folder), arguments.spans, arguments.examples)
    print("BENCH " + json.dumps({"name": "micro_spans", **figures}))


def measure(folder: Path, num_spans: int, examples: int) -> dict[str, float]:
    """Returns resident memory in MiB and mean seconds per span, after the warm-up and at the end.

    Raises:
        ValueError: if `num_spans` leaves too few spans after the warm-up.
    """
    if num_spans <= NUM_WARM_UP_SPANS + 1:
        raise ValueError(f"--spans must be more than {NUM_WARM_UP_SPANS + 1}, got {num_spans}.")
    from rich.console import Console

    from eventlog.simulator import simulate
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.logging_setup import silence_other_packages
    from pipeline.observation.metrics import write_metrics
    from pipeline.paths import RunPaths

    silence_other_packages()
    simulate(folder / "log", spans=NUM_BURN_IN_SPANS + num_spans, examples_per_span=examples, seed=1)
    deployment = write_deployment(folder, NUM_BURN_IN_SPANS)
    paths = RunPaths(folder / "root", folder / "log")
    loop = Loop(deployment, paths, Progress(Console(soft_wrap=True, quiet=True)))
    resident, seconds = [], []
    for span in range(NUM_BURN_IN_SPANS, NUM_BURN_IN_SPANS + num_spans):
        started = time.perf_counter()
        loop.catch_up(range(NUM_BURN_IN_SPANS, span + 1))
        write_metrics(deployment, paths)
        seconds.append(time.perf_counter() - started)
        resident.append(resident_mib())
        print(f"span {span}: {seconds[-1]:.1f} s, {resident[-1]:.0f} MiB", flush=True)
    return {
        "spans": num_spans,
        "mib_after_warm_up": round(resident[NUM_WARM_UP_SPANS - 1]),
        "mib_end": round(resident[-1]),
        "growth": round(resident[-1] / resident[NUM_WARM_UP_SPANS - 1] - 1, 4),
        "seconds_after_warm_up": round(mean(seconds[NUM_WARM_UP_SPANS : 2 * NUM_WARM_UP_SPANS]), 2),
        "seconds_end": round(mean(seconds[-NUM_WARM_UP_SPANS:]), 2),
    }


def resident_mib() -> float:
    """Returns the resident memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / _KIB_PER_MIB


if __name__ == "__main__":
    main()
