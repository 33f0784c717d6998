"""Measures the rows per second of `rankdistill events import` against a plain DuckDB copy of the same file.

The source is a CSV file with 14 days of events, in 16 columns, of which the mapping uses 14. The plain copy
is `COPY (SELECT * FROM source) TO … (FORMAT parquet)` with the same memory limit; it checks and orders
nothing. Each runs in a process of its own, so that its peak memory is its own. The ratio is the copy's time
divided by the import's: above 1, the import is faster.

Usage: `python -m benchmarks.import_table [--rows 10000000] [--shuffled]`. With `--shuffled` the source is in
no order, so that the import sorts it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from eventlog.importing.importer import import_table
from eventlog.tables.database import MEMORY_LIMIT
from eventlog.tables.mapping import (
    FeatureSettings,
    FileSettings,
    LabelSettings,
    Period,
    SpanSettings,
    TableMapping,
    TimeSettings,
)

DAYS = 14
_TEXTS = ("user_id", "item_id", "seller_id", "category", "brand", "device", "country")
MAPPING = TableMapping(
    source=FileSettings(
        columns={
            "event_time_ms": "integer",
            "position": "integer",
            "clicked": "integer",
            "amount": "number",
            "price": "number",
        }
    ),
    time=TimeSettings(value="event_time_ms", unit="ms"),
    spans=SpanSettings(by=Period.day),
    example_id=("event_id",),
    surface="surface",
    cluster="user_id",
    labels={"bought": LabelSettings(value="clicked"), "revenue": LabelSettings(value="ln(1 + amount)")},
    features={
        **{name: FeatureSettings(value=name, type="text") for name in _TEXTS},
        "price": FeatureSettings(value="price", type="number"),
        "place": FeatureSettings(value="position", type="integer"),
    },
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints the BENCH line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="number of rows")
    parser.add_argument("--shuffled", action="store_true", help="a source in no order")
    parser.add_argument("--step", choices=("copy", "import"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        run_step(options.step, options.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_source(folder / "events.csv", options.rows, shuffled=options.shuffled)
        steps = {step: _run_in_own_process(step, folder) for step in ("copy", "import")}
        size = (folder / "events.csv").stat().st_size
    for step, figures in steps.items():
        print(
            f"{step:7} {figures['seconds']:7.1f} s {options.rows / figures['seconds']:12,.0f} rows/s "
            f"{figures['cpu_seconds']:7.1f} CPU s {figures['peak_mb']:7.0f} MB"
        )
    result = {
        "name": "import_table",
        "ratio": round(steps["copy"]["seconds"] / steps["import"]["seconds"], 3),
        "cpu_ratio": round(steps["copy"]["cpu_seconds"] / steps["import"]["cpu_seconds"], 3),
        "rows": options.rows,
        "shuffled": options.shuffled,
        "rows_per_second": round(options.rows / steps["import"]["seconds"]),
        "peak_mb": round(steps["import"]["peak_mb"]),
        "source_mb": round(size / 1e6),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    print(f"BENCH {json.dumps(result)}")


def write_source(path: Path, rows: int, *, shuffled: bool) -> None:
    """Writes a table of events as CSV."""
    order = "hash(number * 97)" if shuffled else "number"
    with duckdb.connect(config={"memory_limit": MEMORY_LIMIT}) as connection:
        query = f"""
        COPY (
          SELECT 'e' || number AS event_id, 'u' || hash(number) % 300000 AS user_id,
            'i' || hash(number * 7) % 50000 AS item_id, 's' || hash(number * 11) % 900 AS seller_id,
            1700006400000 + number * {DAYS * 86_400_000 // rows} AS event_time_ms,
            ['list', 'search', 'home'][1 + CAST(hash(number * 13) % 3 AS INTEGER)] AS surface,
            hash(number * 17) % 40 AS position, CAST(hash(number * 19) % 10 = 0 AS INTEGER) AS clicked,
            round((hash(number * 23) % 10000) / 100.0, 2) AS amount,
            'c' || hash(number * 29) % 60 AS category,
            'b' || hash(number * 31) % 3000 AS brand, 'd' || hash(number * 37) % 5 AS device,
            ['de', 'fr', 'us', 'jp'][1 + CAST(hash(number * 41) % 4 AS INTEGER)] AS country,
            round((hash(number * 43) % 100000) / 100.0, 2) AS price,
            md5(CAST(number // 8 AS VARCHAR)) AS session_id,
            '/shop/c' || hash(number * 29) % 60 || '/i' || hash(number * 7) % 50000 || '?ref=list' AS page
          FROM range({rows}) AS numbers(number) ORDER BY {order}
        ) TO '{path}'
        """  # noqa: S608
        connection.execute(query)


def run_step(step: str, folder: Path) -> None:
    """Runs one step in this process, and prints its figures as JSON."""
    source = folder / "events.csv"
    start, cpu_start = time.perf_counter(), time.process_time()
    if step == "copy":
        with duckdb.connect(config={"memory_limit": MEMORY_LIMIT}) as connection:
            copy = f"COPY (FROM read_csv('{source}')) TO '{folder / 'copy.parquet'}' (FORMAT parquet)"
            connection.execute(copy)
    else:
        import_table(MAPPING, "mapping.yaml", source, folder / "log")
    figures = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "peak_mb": _peak_mb(),
    }
    print(json.dumps(figures))


def _peak_mb() -> float:
    """Peak memory of this process. `getrusage` would count the memory of the process that started it."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1000


def _run_in_own_process(step: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.import_table", "--step", step, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
