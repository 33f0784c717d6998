"""A small world that several suites share; TensorFlow's settings come before anything imports it."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process has one core; more threads would only wait for each other.
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
FEATURES = (
    "user_id", "video_id", "surface", "hour", "tag", "user_traits", "duration_seconds", "follow_user_num",
    "history_user_count", "history_user_click", "history_video_click",
)  # fmt: skip
"""Features of the small world, at least one of each kind."""


@pytest.fixture(scope="session")
def small_log(tmp_path_factory):
    """Nine spans of 1,500 simulated impressions."""
    from eventlog.simulator import simulate

    log = tmp_path_factory.mktemp("small") / "log"
    simulate(log, spans=9, examples_per_span=1500, seed=5)
    return log


@pytest.fixture(scope="session")
def small_document():
    """The demo's configuration, its models shrunk and two spans of burn-in."""
    document = yaml.safe_load((REPOSITORY / "pipeline" / "configs" / "demo.yaml").read_text())
    document["name"] = "small"
    document["schema"] = str(REPOSITORY / "schema" / "impressions.pbtxt")
    # Span 3 is the first with labels of the delayed task.
    document["burn_in"] = "2:3"
    document["rows_per_shard"] = 1000
    # TFT analyses every feature: a third of them takes a third of the time.
    for role in ("teacher", "student"):
        document[role]["features"] = [name for name in document[role]["features"] if name in FEATURES]
    document["features"] = {name: document["features"][name] for name in FEATURES}
    document["teacher"]["architecture"] = {"embedding_size": 4, "trunk": [16]}
    document["teacher"]["passes"] = document["student"]["passes"] = 1
    document["student"]["architecture"] = {"embedding_size": 4, "trunk": [8]}
    # Its few steps would all be warm-up.
    document["student"]["optimizer"] = {"name": "adagrad", "learning_rate": 0.1}
    document["evaluation"] = {"resamples": 20, "margin": 1.0}
    document["surfaces"] = {"tab_1": {}, "tab_0": {}}
    return document


@pytest.fixture(scope="session")
def small_config(small_document, tmp_path_factory):
    """The same, as a file."""
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(small_document))
    return path


@pytest.fixture(scope="session")
def finished_run(small_config, small_log, tmp_path_factory):
    """A run on this machine over spans 4 to 7 of the small world; its log is `log.txt` beside its root.

    Rows of span 4, the first that a student has predicted after its burn-in, mature in span 7.
    """
    from rich.console import Console

    from pipeline.config_file import load_deployment
    from pipeline.driver.loop import Loop
    from pipeline.driver.progress import Progress
    from pipeline.paths import RunPaths

    paths = RunPaths(root=tmp_path_factory.mktemp("run") / "root", events=small_log)
    with (paths.root.parent / "log.txt").open("w") as log:
        loop = Loop(load_deployment(small_config), paths, Progress(Console(file=log)))
        done, stuck = loop.catch_up(range(4, 8))
    assert (done, stuck) == ([4, 5, 6, 7], {})
    return paths
