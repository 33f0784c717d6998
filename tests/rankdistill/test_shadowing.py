import os
import shutil
import subprocess
import sys

import pytest

from rankdistill.shadowing import PACKAGES, refuse_shadowed_packages
from tests.conftest import REPOSITORY


def run_beside(folder, *arguments):
    """The command line with `folder` in front of our packages on `sys.path`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}
    command = [sys.executable, "-m", "rankdistill", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_our_own_packages_are_accepted():
    refuse_shadowed_packages()


@pytest.mark.parametrize("package", PACKAGES)
def test_another_package_of_one_of_our_names_is_refused_in_one_line(package, tmp_path):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    done = run_beside(tmp_path, "--help")

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"rankdistill: package '{package}' is hidden: expected {REPOSITORY / package}, got "
    )
    assert str(tmp_path / package / "__init__.py") in line
    assert "its own environment" in line


def test_a_missing_package_is_reported_as_missing(tmp_path):
    folder = tmp_path / "rankdistill"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    shutil.copy(REPOSITORY / "rankdistill" / "shadowing.py", folder)
    (tmp_path / PACKAGES[0]).mkdir()
    (tmp_path / PACKAGES[0] / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from rankdistill.shadowing import *; "
    # -I and -S: the packages of the repository are not on the path.
    command = [sys.executable, "-I", "-S", "-c", code + "refuse_shadowed_packages()"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: package {PACKAGES[1]!r} is missing: expected {tmp_path / PACKAGES[1]}, "
        "got no such package. Install rankdistill again."
    )


def test_a_public_name_is_refused_too(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    code = "import rankdistill; rankdistill.Task"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: package 'models' is hidden" in done.stderr
