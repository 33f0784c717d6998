"""`make setup` where it cannot work: one line says what is missing."""

import os
import re
import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def make_setup(tmp_path):
    """Runs `make setup` in a folder with the repository's Makefile, with only these programs in the path."""
    for name in ("Makefile", "uv.lock", "pyproject.toml", "setup.py"):
        shutil.copy(REPOSITORY / name, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()

    def run(**scripts):
        for name, script in scripts.items():
            path = programs / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "SHELL": os.environ.get("SHELL", "/bin/sh"),
        }
        done = subprocess.run(
            ["make", "setup"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr.splitlines()

    return run


def test_an_old_python_is_named(make_setup):
    code, lines = make_setup(python3='case "$1" in -c) exit 1;; esac; echo Python 3.8.1')
    assert code == 2
    assert lines[0] == "make: expected Python 3.10 or newer as python3, got Python 3.8.1. Install one."


def test_a_machine_without_a_python_that_uv_cannot_fetch_is_refused(make_setup, tmp_path):
    uv = tmp_path / ".uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    code, lines = make_setup(python3="exit 0")
    assert code == 2
    assert re.fullmatch(
        r"make: no Python (3\.13 3\.12 3\.11 )?3\.10 on this machine, and uv could not fetch one\. "
        r"Install it, for example with 'pyenv install 3\.10'\.",
        lines[0],
    )
    assert not (tmp_path / ".venv").exists()
