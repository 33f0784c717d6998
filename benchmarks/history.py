"""Measures what a history costs at ingest, and how its state grows with the number of spans.

Usage: `python -m benchmarks.history [--spans 12] [--examples-per-span 40000]`. Each span of a simulated log
is checked and encoded as SpanExampleGen does it: without a history, with the counts and means of two entities
and three tasks, and with a sequence of 20 items besides. The ratios compare the rates within one run, by the
seconds of CPU, which depend less on the machine's other load.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

BEAM = ["--runner=FnApiRunner"]
ARMS = ("without", "means", "sequence")


def main(arguments: list[str] | None = None) -> None:
    """Encodes the spans, prints a line for each and the BENCH line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=12, help="number of spans")
    parser.add_argument("--examples-per-span", type=int, default=40_000, help="fresh rows of a span")
    given = parser.parse_args(arguments)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        spans = []
        for span in measure(Path(folder), given.spans, given.examples_per_span):
            spans.append(span)
            print(json.dumps(span), flush=True)
    # The first spans warm up Beam and TensorFlow, and their history lacks the labels of some tasks.
    later = spans[len(spans) // 2 :]
    rates = {arm: median(span["rows"] / span["cpu_seconds"][arm] for span in later) for arm in ARMS}
    last = spans[-1]
    result = {
        "name": "history",
        "ratios": {arm: round(rates[arm] / rates["without"], 3) for arm in ARMS[1:]},
        "rows_per_cpu_second": {arm: round(rate) for arm, rate in rates.items()},
        "files": last["files"],
        "state_to_log": {arm: round(size / last["log_bytes"], 3) for arm, size in last["bytes"].items()},
        "cores": os.cpu_count(),
        "load_before": round(load_before, 2),
    }
    print(f"BENCH {json.dumps(result)}")


def measure(folder: Path, num_spans: int, examples_per_span: int) -> Any:
    """Yields per span its rows, the seconds of each arm, and the sizes of state and log so far."""
    from components.history.settings import History, HistorySource, ItemSequence
    from eventlog.simulator import simulate

    log = folder / "log"
    simulate(log, num_spans, examples_per_span, seed=1)
    means = {"entities": {"viewer": "user_id", "clip": "video_id"}, "tasks": ("click", "like", "watch_time")}
    sequence = ItemSequence(entity="viewer", column="video_id", length=20)
    histories = {"means": History(**means), "sequence": History(**means, sequences={"recent": sequence})}
    sources = {
        arm: HistorySource(history=history, log=str(log), folder=str(folder / arm / "history"))
        for arm, history in histories.items()
    }
    for span in range(num_spans):
        rows, cpu_seconds, seconds = 0, {}, {}
        for arm in ARMS:
            begin, cpu_begin = time.perf_counter(), time.process_time()
            rows = _ingest(log, span, folder / arm, sources.get(arm))
            cpu_seconds[arm] = round(time.process_time() - cpu_begin, 2)
            seconds[arm] = round(time.perf_counter() - begin, 2)
        sizes = {arm: _sizes(folder / arm / "history") for arm in sources}
        yield {
            "span": span,
            "rows": rows,
            "cpu_seconds": cpu_seconds,
            "seconds": seconds,
            "files": len(sizes["means"]),
            "bytes": {arm: sum(files) for arm, files in sizes.items()},
            "log_bytes": sum(_sizes(log)) * (span + 1) // num_spans,
        }


def _ingest(log: Path, span: int, folder: Path, source: Any) -> int:
    """Checks and encodes a span as SpanExampleGen does; returns its number of rows."""
    from components.history.state import open_state
    from components.transforms.collecting import run_and_collect
    from components.transforms.encode_events import EncodeEvents
    from components.transforms.history_beam import complete_history
    from eventlog.checks import check_span
    from eventlog.kuairand.columns import LOG_COLUMNS

    def run(transform: Any) -> list[Any]:
        return run_and_collect(lambda pipeline: pipeline | transform, BEAM, str(folder / "scratch"))

    num_rows = check_span(log, span, LOG_COLUMNS).total
    lookup = None
    if source is not None:
        state = open_state(source, LOG_COLUMNS)
        lookup = complete_history(state, [span - age for age in LOG_COLUMNS.ages], run)
    run(EncodeEvents(str(log), LOG_COLUMNS, span, str(folder / "examples"), 10_000, history=lookup))
    return num_rows


def _sizes(folder: Path) -> list[int]:
    return [file.stat().st_size for file in folder.rglob("*.parquet")]


if __name__ == "__main__":
    main()
