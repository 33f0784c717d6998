"""Measures the fresh rows per second that `rankdistill events simulate` writes.

Usage: `python -m benchmarks.simulate [--spans 8] [--examples-per-span 250000]`. The time includes all work of
the command after its imports: the world, history features, matured rows, true expectations, writing Parquet.
A small world is written first, so that pyarrow's threads are already running. If the machine has other load,
compare `cpu_seconds` between runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from pathlib import Path

from eventlog.simulator import simulate


def main() -> None:
    """Runs the simulator and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=8, help="number of spans")
    parser.add_argument("--examples-per-span", type=int, default=250_000, help="fresh rows of a span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "small", 1, 1_000, seed=0)
        load_before, cpu_before = os.getloadavg()[0], time.process_time()
        ends = [time.perf_counter()]
        simulate(
            Path(folder) / "log",
            arguments.spans,
            arguments.examples_per_span,
            seed=1,
            on_span=lambda span, rows: ends.append(time.perf_counter()),
        )
        cpu_seconds = time.process_time() - cpu_before
        size = sum(path.stat().st_size for path in (Path(folder) / "log").rglob("*.parquet"))
    for span, (before, after) in enumerate(itertools.pairwise(ends)):
        print(f"span {span}: {after - before:.2f} s")
    examples = arguments.spans * arguments.examples_per_span
    result = {
        "name": "simulate",
        "examples_per_second": round(examples / (ends[-1] - ends[0])),
        "examples": examples,
        "seconds": round(ends[-1] - ends[0], 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "bytes_per_example": round(size / examples, 1),
        "cores": os.cpu_count(),
        "load_before": round(load_before, 2),
    }
    print(f"BENCH {json.dumps(result)}")


if __name__ == "__main__":
    main()
