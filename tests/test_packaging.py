"""The wheel and the source distribution: what they hold, and that a wheel works outside a checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

DATA = {
    "pipeline/configs/demo.yaml",
    "pipeline/configs/kuairand.yaml",
    "experiments/configs/kuairand.yaml",
    "experiments/configs/simulator.yaml",
    "rankdistill/py.typed",
}
SCHEMA = {"impressions.pbtxt", "labels.bq.json", "label_sets.bq.json"}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The folder with both files, built by uv from a copy of the tracked files."""
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "uv",
        "build",
        "--quiet",
        "--python",
        sys.executable,
        "--out-dir",
        out,
        source,
    ]
    subprocess.run(command, check=True)
    return out


def test_the_wheel_holds_code_and_data_and_neither_tests_nor_benchmarks(distributions):
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}

    assert names >= DATA | {f"rankdistill/schema/{name}" for name in SCHEMA}
    assert tops == {"rankdistill", "eventlog", "models", "components", "pipeline", "experiments"}
    sources = {str(path.relative_to(REPOSITORY)) for top in tops for path in (REPOSITORY / top).rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}


def test_the_source_distribution_holds_the_same_data(distributions):
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= DATA | {f"schema/{name}" for name in SCHEMA} | {"setup.py", "pyproject.toml"}


def test_an_installed_wheel_works_outside_a_checkout(distributions, tmp_path):
    (wheel,) = distributions.glob("*.whl")
    installed = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", installed, wheel]
    subprocess.run(pip, check=True)
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def run(*arguments):
        command = [sys.executable, "-m", "rankdistill", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    where = subprocess.run(
        [sys.executable, "-c", "import rankdistill; print(rankdistill.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(installed))
    assert "serve-loop" in run("--help")
    assert "teacher 'history-2x'" in run(
        "config", "check", installed / "pipeline" / "configs" / "kuairand.yaml"
    )
