"""Event log and configuration of the chaos suite: 14 days, KuaiRand or simulated, at most 2,000 rows each."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from eventlog.kuairand.columns import LOG_SCHEMA, LTV_DELAY
from eventlog.spans import span_files, write_span

REPOSITORY = Path(__file__).parents[2]
SAMPLE = os.environ.get("CHAOS_SAMPLE") == "1"
"""Whether to run a sample with fewer spans and kills: `make test-slow` does, `make chaos` does not."""
SPANS = 8 if SAMPLE else 16
ROWS = 2_000
SURFACES = ("tab_1", "tab_0")
CONTROL_EVERY = 2


def kuairand_folder():
    """Folder of KuaiRand's files, or None; the same folders as in the Makefile."""
    for folder in (os.environ.get("KUAIRAND_DIR", ""), REPOSITORY / "data" / "kuairand"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


def write_world(folder):
    """Writes `full` (the whole log of the source) and `log`, its capped copy, into the folder."""
    source = kuairand_folder()
    if source is not None:
        from eventlog.kuairand.adapter import write_kuairand

        write_kuairand(source, folder / "full")
    else:
        from eventlog.simulator import simulate

        simulate(folder / "full", spans=SPANS, examples_per_span=3 * ROWS, seed=3)
    for span in range(SPANS):
        write_span(folder / "log", span, [capped(folder / "full", span)])


def capped(log, span):
    """At most ROWS rows: fresh rows by id, so that every hour occurs, and matured rows by id."""
    rows = pa.concat_tables([pq.ParquetFile(file).read() for file in span_files(log, span)]).cast(LOG_SCHEMA)
    fresh = rows.filter(pc.equal(rows["impression_span"], span))
    matured = rows.filter(pc.equal(rows["impression_span"], span - LTV_DELAY))
    parts = first_by_id(fresh, ROWS * 3 // 4), first_by_id(matured, ROWS // 4)
    return pa.concat_tables(parts).sort_by("event_time_ms")


def first_by_id(rows, number):
    return rows.sort_by("example_id").slice(0, number)


def write_config(path):
    """The demo's configuration with small models, two surfaces, push gates, a control every other span."""
    document = yaml.safe_load((REPOSITORY / "pipeline" / "configs" / "demo.yaml").read_text())
    document["name"] = "chaos"
    document["schema"] = str(REPOSITORY / "schema" / "impressions.pbtxt")
    document["burn_in"] = "2:3"
    document["teacher"] |= {
        "architecture": {"embedding_size": 4, "trunk": [16]},
        "batch_size": 64,
        "passes": 1,
    }
    document["student"] |= {
        "architecture": {"embedding_size": 4, "trunk": [8]},
        "batch_size": 64,
        "passes": 1,
    }
    document["evaluation"] = {"resamples": 20, "margin": 0.05}
    push = {"task": "click", "margin": 0.05, "spans": 2}
    document["surfaces"] = {surface: {"push": push, "control_every": CONTROL_EVERY} for surface in SURFACES}
    path.write_text(yaml.safe_dump(document))
    return path
