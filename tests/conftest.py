"""A small world that several suites share; TensorFlow's settings come before anything imports it."""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process has one core; more threads would only wait for each other.
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = "1"

import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
FEATURES = (
    "user_id", "video_id", "surface", "hour", "tag", "user_traits", "duration_seconds", "follow_user_num",
    "history_user_count", "history_user_click", "history_video_click",
)  # fmt: skip
"""Features of the small world, at least one of each kind."""


class _Code:
    """An object whose pickle creates the file `marker` when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def craft(tmp_path):
    """Changes a Parquet file: plain pyarrow 10 runs code from it, which makes the file that this gives."""

    def craft_file(file, metadata=None):
        marker = tmp_path / "marker-of-code"
        table = pq.read_table(file, partitioning=None)
        code = pickle.dumps(_Code(marker)) if metadata is None else metadata
        extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": code}
        schema = table.schema.set(0, table.schema.field(0).with_metadata(extension))
        pq.write_table(pa.Table.from_arrays(table.columns, schema=schema), file)
        return marker

    return craft_file


@pytest.fixture
def run_alone(tmp_path):
    """Runs a script in a process of its own, in which no test has imported anything."""

    def run_script(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    return run_script


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs a command in this process; gives its exit code and what it prints."""
    from rankdistill.command_line import main

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["rankdistill", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        printed = "".join(capfd.readouterr())
        assert "Traceback" not in printed
        return code, printed

    return run


@pytest.fixture(scope="session")
def clean_log(tmp_path_factory):
    """Four spans of 60 simulated impressions; tests change copies of it."""
    from eventlog.simulator import simulate

    log = tmp_path_factory.mktemp("clean") / "log"
    simulate(log, spans=4, examples_per_span=60, seed=1)
    return log


@pytest.fixture(scope="session")
def small_log(tmp_path_factory):
    """Nine spans of 1,500 simulated impressions."""
    from eventlog.simulator import simulate

    log = tmp_path_factory.mktemp("small") / "log"
    simulate(log, spans=9, examples_per_span=1500, seed=5)
    return log


def make_small_document():
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
def small_document():
    return make_small_document()


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
