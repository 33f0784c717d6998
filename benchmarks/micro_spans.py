"""Measures memory and seconds per span over a hundred small spans in one process."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import mean

from benchmarks.span_overhead import write_deployment

EXAMPLES = 300
SPANS = 100
WARM_UP_SPANS = 10
"""Number of spans until all graphs are traced. Memory growth is measured from there to the last span."""
BURN_IN = 2
_KIB_PER_MIB = 1024


def main() -> None:
    """Runs the spans one by one, writes `metrics.prom` after each, and prints the BENCH line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=SPANS, help="number of spans after the burn-in")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="fresh rows of a span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="micro-spans-") as folder:
        figures = measure(Path(folder), arguments.spans, arguments.examples)
    print("BENCH " + json.dumps({"name": "micro_spans", **figures}))


def measure(folder: Path, spans: int, examples: int) -> dict[str, float]:
    """Returns resident memory in MiB and seconds per span, after the warm-up and at the end."""
    if spans <= WARM_UP_SPANS + 1:
        raise ValueError(f"--spans must be more than {WARM_UP_SPANS + 1}, got {spans}.")
    from rich.console import Console

    from eventlog.simulator import simulate
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.logging_setup import silence_other_packages
    from pipeline.observation.metrics import write_metrics
    from pipeline.paths import RunPaths

    silence_other_packages()
    simulate(folder / "log", spans=BURN_IN + spans, examples_per_span=examples, seed=1)
    deployment = write_deployment(folder, BURN_IN)
    paths = RunPaths(folder / "root", folder / "log")
    loop = Loop(deployment, paths, Progress(Console(soft_wrap=True, quiet=True)))
    resident, seconds = [], []
    for span in range(BURN_IN, BURN_IN + spans):
        started = time.perf_counter()
        loop.catch_up(range(BURN_IN, span + 1))
        write_metrics(deployment, paths)
        seconds.append(time.perf_counter() - started)
        resident.append(resident_mib())
        print(f"span {span}: {seconds[-1]:.1f} s, {resident[-1]:.0f} MiB", flush=True)
    return {
        "spans": spans,
        "mib_after_warm_up": round(resident[WARM_UP_SPANS - 1]),
        "mib_end": round(resident[-1]),
        "growth": round(resident[-1] / resident[WARM_UP_SPANS - 1] - 1, 4),
        "seconds_after_warm_up": round(mean(seconds[WARM_UP_SPANS : 2 * WARM_UP_SPANS]), 2),
        "seconds_end": round(mean(seconds[-WARM_UP_SPANS:]), 2),
    }


def resident_mib() -> float:
    """Returns the resident memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / _KIB_PER_MIB


if __name__ == "__main__":
    main()
