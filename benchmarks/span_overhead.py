"""Measures the overhead in a span's duration and in its label lag, after two warm-up spans in one process.

The overhead in the duration is the duration minus the seconds of the training steps and of scoring. So
tracing, export, metadata and copies count as overhead. Training steps and scoring are timed afterwards on the
same examples, with traced graphs.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

EXAMPLES_PER_SPAN = 2_000
NUM_BURN_IN_SPANS = 2
NUM_WARM_UP_SPANS = 2


def main() -> None:
    """Runs the burn-in and three more spans in this process, measures the last span, prints the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=EXAMPLES_PER_SPAN, help="fresh rows of a span")
    parser.add_argument("--profile", type=Path, help="file for cProfile's statistics of the measured span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="span-overhead-") as folder:
        figures = measure(Path(folder), arguments.examples, arguments.profile)
    print("BENCH " + json.dumps({"name": "span_overhead", **figures}))


def measure(folder: Path, examples: int, profile: Path | None) -> dict[str, float]:
    """Measures one span; returns seconds by name.

    `overhead_seconds` is `wall_seconds` minus `training_seconds` and `inference_seconds` (scoring).
    `label_overhead_seconds` is the label lag minus the seconds in which the teacher scores the rows.
    """
    from rich.console import Console

    from components.label_store.schemes import open_store
    from eventlog.simulator import simulate
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.logging_setup import silence_other_packages
    from pipeline.paths import RunPaths

    silence_other_packages()
    last = NUM_BURN_IN_SPANS + NUM_WARM_UP_SPANS
    simulate(folder / "log", spans=last + 1, examples_per_span=examples, seed=1)
    deployment = write_deployment(folder, NUM_BURN_IN_SPANS)
    paths = RunPaths(folder / "root", folder / "log")
    loop = Loop(deployment, paths, Progress(Console(soft_wrap=True)))
    loop.catch_up(range(NUM_BURN_IN_SPANS, last))
    with _profiled(profile):
        started = time.perf_counter()
        loop.catch_up(range(NUM_BURN_IN_SPANS, last + 1))
        wall_seconds = time.perf_counter() - started
    training = _training_seconds(paths, deployment, last)
    inference, teacher_inference = _inference_seconds(paths, deployment, last)
    store = open_store(paths.label_store(deployment.label_store))
    (record,) = (record for record in store.list_sets() if record.key.span == last)
    lag = (record.created_ms - record.facts.extra["ready_ms"]) / 1000
    return {
        "overhead_seconds": round(wall_seconds - training - inference, 2),
        "label_overhead_seconds": round(lag - teacher_inference, 2),
        "wall_seconds": round(wall_seconds, 2),
        "training_seconds": round(training, 2),
        "inference_seconds": round(inference, 2),
    }


def write_deployment(folder: Path, num_burn_in_spans: int) -> Any:
    """Writes the demo's deployment with this burn-in to `folder/deployment.yaml`; returns the deployment."""
    from pipeline.config_file import load_deployment

    config = Path(__file__).parents[1] / "pipeline" / "configs" / "demo.yaml"
    (folder / "deployment.yaml").write_text(
        config.read_text().replace('burn_in: "0:4"', f'burn_in: "0:{num_burn_in_spans - 1}"')
    )
    return load_deployment(folder / "deployment.yaml")


@contextlib.contextmanager
def _profiled(path: Path | None) -> Iterator[None]:
    """Profiles the block and writes the statistics to `path`; if `path` is None, does not profile."""
    if path is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(path)


def _training_seconds(paths: Any, deployment: Any, span: int) -> float:
    """Returns the seconds of a span's training steps, summed over all models, without parsing and tracing."""
    from components.span_records import TEACHER, newest_before, read_record
    from components.transforms.shards import TRAINED_SPLITS, split_files
    from models.learner import Learner
    from models.reading import ExampleReader
    from models.transform_graph import TransformGraph

    graph_uri = newest_before(paths.records, TEACHER, span, "transform_graph")
    jobs = [deployment.teacher_job()]
    for surface in deployment.surfaces:
        jobs += [deployment.student_job(surface), deployment.control_job(surface)]
    total = 0.0
    for job in jobs:
        examples = read_record(paths.records, job.surface or TEACHER, span).slots["examples"]
        files = [path for split in TRAINED_SPLITS for path in split_files(examples, split)]
        reader = ExampleReader(job, TransformGraph(graph_uri, job.features))
        learner = Learner(job, reader.block_spec)
        blocks = list(reader.blocks(files, span=span, reading_pass=0))
        total += job.passes * _seconds_when_traced(partial(_train, learner, blocks))
    return total


def _train(learner: Any, blocks: Sequence[Any]) -> None:
    for block in blocks:
        learner.train_block(*block).total.numpy()


def _seconds_when_traced(run: Callable[[], object]) -> float:
    """Calls `run` twice, first to trace graphs and fill caches; returns the seconds of the second call."""
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _inference_seconds(paths: Any, deployment: Any, span: int) -> tuple[float, float]:
    """Returns the seconds to score a span's rows once: with all models of the span, and with the teacher."""
    import pyarrow as pa

    from components.span_records import TEACHER, read_record
    from components.transforms.shards import FRESH_SPLITS, split_files
    from eventlog.rows import EXAMPLE_ID
    from models.scoring import load_scorer

    def seconds(branch: str, role: str) -> float:
        slots = read_record(paths.records, branch, span).slots
        files = [path for split in FRESH_SPLITS for path in split_files(slots["examples"], split)]
        scorer = load_scorer(slots[role])
        return _seconds_when_traced(lambda: list(scorer.score_files(files, {EXAMPLE_ID: pa.string()})))

    teacher_seconds = seconds(TEACHER, "teacher")
    surface_seconds = [
        seconds(surface, role) for surface in deployment.surfaces for role in ("student", "control")
    ]
    return teacher_seconds + sum(surface_seconds), teacher_seconds


if __name__ == "__main__":
    main()
