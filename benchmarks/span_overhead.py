"""Measures the overhead of a span and of its label lag, after two spans in the same process.

A span's overhead is its duration without the training steps and without the scoring of its rows. So tracing,
export, metadata and copies count as overhead. Training steps and scoring are timed afterwards on the same
examples, in a second call, whose graphs are already traced.
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

EXAMPLES = 2_000
BURN_IN = 2
WARM_UP_SPANS = 2


def main() -> None:
    """Runs the burn-in and some spans in this process, measures the last one and prints the BENCH line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="fresh rows of a span")
    parser.add_argument("--profile", type=Path, help="file for cProfile's statistics of the measured span")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="span-overhead-") as folder:
        figures = measure(Path(folder), arguments.examples, arguments.profile)
    print("BENCH " + json.dumps({"name": "span_overhead", **figures}))


def measure(folder: Path, examples: int, profile: Path | None) -> dict[str, float]:
    """Measures one span; returns seconds by name.

    `overhead_seconds` is `wall_seconds` without `training_seconds` and `inference_seconds`.
    `label_overhead_seconds` is the label lag without the teacher's inference.
    """
    from rich.console import Console

    from components.label_store.schemes import open_store
    from eventlog.simulator import simulate
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.logging_setup import silence_other_packages
    from pipeline.paths import RunPaths

    silence_other_packages()
    last = BURN_IN + WARM_UP_SPANS
    simulate(folder / "log", spans=last + 1, examples_per_span=examples, seed=1)
    deployment = write_deployment(folder, BURN_IN)
    paths = RunPaths(folder / "root", folder / "log")
    loop = Loop(deployment, paths, Progress(Console(soft_wrap=True)))
    loop.catch_up(range(BURN_IN, last))
    with _profiled(profile):
        started = time.perf_counter()
        loop.catch_up(range(BURN_IN, last + 1))
        wall = time.perf_counter() - started
    training = _training_seconds(paths, deployment, last)
    inference, teacher_inference = _inference_seconds(paths, deployment, last)
    store = open_store(paths.label_store(deployment.label_store))
    (record,) = (record for record in store.list_sets() if record.key.span == last)
    lag = (record.created_ms - record.facts.extra["ready_ms"]) / 1000
    return {
        "overhead_seconds": round(wall - training - inference, 2),
        "label_overhead_seconds": round(lag - teacher_inference, 2),
        "wall_seconds": round(wall, 2),
        "training_seconds": round(training, 2),
        "inference_seconds": round(inference, 2),
    }


def write_deployment(folder: Path, burn_in: int) -> Any:
    """Writes the demo's deployment with a shorter burn-in to `deployment.yaml`; returns the deployment."""
    from pipeline.config_file import load_deployment

    config = Path(__file__).parents[1] / "pipeline" / "configs" / "demo.yaml"
    (folder / "deployment.yaml").write_text(
        config.read_text()
        .replace('burn_in: "0:4"', f'burn_in: "0:{burn_in - 1}"')
        .replace("schema: ../../", f"schema: {config.parents[2]}/")
    )
    return load_deployment(folder / "deployment.yaml")


@contextlib.contextmanager
def _profiled(path: Path | None) -> Iterator[None]:
    """Profiles the block and writes the statistics to `path`; does nothing if it is None."""
    if path is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(path)


def _training_seconds(paths: Any, deployment: Any, span: int) -> float:
    """Returns the seconds of the training steps of all models of a span, without parsing and tracing."""
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
        total += job.passes * _traced_seconds(partial(_train, learner, blocks))
    return total


def _train(learner: Any, blocks: Sequence[Any]) -> None:
    for block in blocks:
        learner.train_block(*block).total.numpy()


def _traced_seconds(run: Callable[[], object]) -> float:
    """Returns the seconds of the second of two calls; the first call traces the graphs and fills caches."""
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _inference_seconds(paths: Any, deployment: Any, span: int) -> tuple[float, float]:
    """Returns the seconds to score a span's rows once with all loaded models, and with the teacher alone."""
    import pyarrow as pa

    from components.span_records import TEACHER, read_record
    from components.transforms.shards import FRESH_SPLITS, split_files
    from eventlog.rows import EXAMPLE_ID
    from models.scoring import load_scorer

    def seconds(branch: str, role: str) -> float:
        slots = read_record(paths.records, branch, span).slots
        files = [path for split in FRESH_SPLITS for path in split_files(slots["examples"], split)]
        scorer = load_scorer(slots[role])
        return _traced_seconds(lambda: list(scorer.score_files(files, {EXAMPLE_ID: pa.string()})))

    teacher = seconds(TEACHER, "teacher")
    surface_models = [
        seconds(surface, role) for surface in deployment.surfaces for role in ("student", "control")
    ]
    return teacher + sum(surface_models), teacher


if __name__ == "__main__":
    main()
