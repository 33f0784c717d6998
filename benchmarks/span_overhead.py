"""What a span costs beside training and inference: seconds of a warm process, and until labels are visible.

Overhead is what a span takes less the steps of all trainings and less the scoring of its rows; tracing,
export, metadata and copying count as overhead. The seconds of the steps are those of a second run over
the same examples.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXAMPLES = 2_000
BURN_IN = 2
WARM_SPANS = 2


def main() -> None:
    """Runs a bootstrap and some spans in this process, and measures the last one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="fresh rows of a span")
    parser.add_argument("--profile", type=Path, help="write cProfile's statistics of the measured span here")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="span-overhead-") as folder:
        figures = measure(Path(folder), chosen.examples, chosen.profile)
    print("BENCH " + json.dumps({"name": "span_overhead", **figures}))


def measure(folder: Path, examples: int, profile: Path | None) -> dict[str, float]:
    """The seconds of one span: overhead, label lag beside inference, and what they were taken from."""
    from rich.console import Console

    from components.label_store.schemes import open_store
    from eventlog.simulator import simulate
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.logging_setup import quieten
    from pipeline.paths import RunPaths

    quieten()
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
    training = sum(_step_seconds(run) for run in _runs(paths, last))
    inference, labelling = _inference_seconds(paths, deployment, last)
    (record,) = (
        each
        for each in open_store(paths.label_store(deployment.label_store)).list_sets()
        if each.key.span == last
    )
    lag = (record.created_ms - record.facts.extra["ready_ms"]) / 1000
    return {
        "seconds": round(wall - training - inference, 2),
        "label_seconds": round(lag - labelling, 2),
        "wall_seconds": round(wall, 2),
        "training_seconds": round(training, 2),
        "inference_seconds": round(inference, 2),
    }


def write_deployment(folder: Path, burn_in: int) -> Any:
    """The demo's deployment with a shorter burn-in: its file in the folder, and what it says."""
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
    """Writes a profile of what runs inside, if a path is given."""
    if path is None:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    profile.dump_stats(path)


def _runs(paths: Any, span: int) -> Iterator[tuple[Any, list[str]]]:
    """Every training of the span: its run, still in this process, and the shards it read."""
    from components.span_records import TEACHER, read_record
    from components.transforms.shards import TRAINED_SPLITS, split_files
    from models import training

    for run in training._TRACED.values():
        branch = run.job.surface or TEACHER
        examples = read_record(paths.records, branch, span).slots["examples"]
        yield run, [path for split in TRAINED_SPLITS for path in split_files(examples, split)]


def _step_seconds(training: tuple[Any, list[str]]) -> float:
    """Seconds of the span's steps, examples parsed and the graph traced."""
    run, files = training
    blocks = list(run.reader.blocks(files, span=0, reading_pass=0))
    for _ in range(2):
        started = time.perf_counter()
        for block in blocks:
            run.learner.train_block(*block).total.numpy()
        taken = time.perf_counter() - started
    return float(run.job.passes * taken)


def _inference_seconds(paths: Any, deployment: Any, span: int) -> tuple[float, float]:
    """Seconds of scoring a span's rows, each model once, loaded; and those of the teacher's alone."""
    import pyarrow as pa

    from components.span_records import TEACHER, read_record
    from components.transforms.shards import FRESH_SPLITS, split_files
    from eventlog.rows import EXAMPLE_ID
    from models.scoring import load_scorer

    def seconds(branch: str, role: str) -> float:
        slots = read_record(paths.records, branch, span).slots
        files = [path for split in FRESH_SPLITS for path in split_files(slots["examples"], split)]
        scorer = load_scorer(slots[role])
        for _ in range(2):
            started = time.perf_counter()
            list(scorer.score_files(files, {EXAMPLE_ID: pa.string()}))
            taken = time.perf_counter() - started
        return taken

    labelling = seconds(TEACHER, "teacher")
    others = [seconds(surface, role) for surface in deployment.surfaces for role in ("student", "control")]
    return labelling + sum(others), labelling


if __name__ == "__main__":
    main()
