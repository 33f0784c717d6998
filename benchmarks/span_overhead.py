"""Measures a span's overhead beside training and inference, and the lag of its labels, in a warm process.

Overhead is the duration of a span minus that of all training steps and of the scoring of its rows. So
tracing, export, metadata and copies count as overhead. The training steps are timed afterwards, by warm
learners on the same examples.
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
WARM_SPANS = 2


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
    """Seconds of one span: overhead, label lag without inference, and the measured times behind both."""
    from rich.console import Console

    from components.label_store.schemes import open_store
    from eventlog.simulator import simulate
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.logging_setup import silence_other_packages
    from pipeline.paths import RunPaths

    silence_other_packages()
    last = BURN_IN + WARM_SPANS
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
    inference, labelling = _inference_seconds(paths, deployment, last)
    store = open_store(paths.label_store(deployment.label_store))
    (record,) = (record for record in store.list_sets() if record.key.span == last)
    lag = (record.created_ms - record.facts.extra["ready_ms"]) / 1000
    return {
        "seconds": round(wall - training - inference, 2),
        "label_seconds": round(lag - labelling, 2),
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
    """Profiles the block if a path is given."""
    if path is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(path)


def _training_seconds(paths: Any, deployment: Any, span: int) -> float:
    """Seconds of the training steps of the span's models, without parsing examples and tracing graphs."""
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
        total += job.passes * _warm_seconds(partial(_train, learner, blocks))
    return total


def _train(learner: Any, blocks: Sequence[Any]) -> None:
    for block in blocks:
        learner.train_block(*block).total.numpy()


def _warm_seconds(run: Callable[[], object]) -> float:
    """Seconds of a second call; the first traces and fills caches."""
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _inference_seconds(paths: Any, deployment: Any, span: int) -> tuple[float, float]:
    """Seconds to score a span's rows once with each loaded model, and with the teacher only."""
    import pyarrow as pa

    from components.span_records import TEACHER, read_record
    from components.transforms.shards import FRESH_SPLITS, split_files
    from eventlog.rows import EXAMPLE_ID
    from models.scoring import load_scorer

    def seconds(branch: str, role: str) -> float:
        slots = read_record(paths.records, branch, span).slots
        files = [path for split in FRESH_SPLITS for path in split_files(slots["examples"], split)]
        scorer = load_scorer(slots[role])
        return _warm_seconds(lambda: list(scorer.score_files(files, {EXAMPLE_ID: pa.string()})))

    labelling = seconds(TEACHER, "teacher")
    others = [seconds(surface, role) for surface in deployment.surfaces for role in ("student", "control")]
    return labelling + sum(others), labelling


if __name__ == "__main__":
    main()
