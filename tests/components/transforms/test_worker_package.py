import subprocess
import sys

import pytest

from components.transforms.worker_package import (
    build_worker_package,
    has_workers_elsewhere,
    with_worker_package,
)

FLINK = ["--runner=FlinkRunner", "--flink_master=flink:8081"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--runner=DirectRunner"],
        ["--runner=FnApiRunner"],
        ["--runner=direct"],
        [*FLINK, "--environment_type=EXTERNAL"],
        [*FLINK, "--environment_type=LOOPBACK"],
        [*FLINK, "--sdk_container_image=ours:1"],
        [*FLINK, "--setup_file=/ours/setup.py"],
        [*FLINK, "--extra_package=/ours/package.tar.gz"],
    ],
)
def test_options_of_workers_that_have_the_code_stay_as_they_are(options):
    assert with_worker_package(options) == options


@pytest.mark.parametrize("runner", ["FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner"])
def test_workers_elsewhere_get_the_package(runner):
    options = [f"--runner={runner}"]
    assert has_workers_elsewhere(options)
    assert with_worker_package(options) == [*options, f"--extra_package={build_worker_package()}"]


@pytest.mark.slow
def test_what_a_worker_installs_has_the_code_and_its_data(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", tmp_path, build_worker_package()], check=True)
    program = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path.insert(0, {str(tmp_path)!r})
from pathlib import Path
import components.transforms.shards, models.tasks
from pipeline.config_file import load_deployment
print(components.transforms.shards.__file__, models.__file__)
print(load_deployment(Path({str(tmp_path)!r}, "pipeline", "configs", "demo.yaml")).schema)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(done) == 3
    assert all(path.startswith(str(tmp_path)) for path in done)
