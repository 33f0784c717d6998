"""`make setup` and `.ci/debian13`: the Python that fits the machine, or one line that says what is wrong."""

import os
import re
import shutil
import subprocess
import time

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def make_setup(tmp_path):
    """Runs `make setup` in a folder with the repository's Makefile, with only these programs in the path."""
    for name in ("Makefile", "uv.lock", "pyproject.toml", "setup.py"):
        shutil.copy(REPOSITORY / name, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()

    def run(*arguments, **scripts):
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
            ["make", "setup", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, (done.stderr if done.returncode else done.stdout).splitlines()

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


@pytest.fixture
def machine(make_setup, tmp_path):
    """Runs `make setup` on a machine with this glibc and Pythons; `synced` has the arguments of `uv sync`."""
    uv = tmp_path / ".uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(
        f"""#!/bin/sh
case "$1 $2" in
  "python find") test -x {tmp_path}/bin/python$3 && echo {tmp_path}/bin/python$3;;
  "python install") exit 1;;
  "sync "*) mkdir -p .venv; echo "$@" > synced;;
esac
"""
    )
    uv.chmod(0o755)

    def run(glibc, versions, *arguments):
        pythons = {
            f"python{version}": f'case "$1" in -c) echo {version};; *) echo Python {version}.9;; esac'
            for version in versions
        }
        return make_setup(*arguments, getconf=f"echo glibc {glibc}", python3="exit 0", **pythons)

    return run


@pytest.mark.parametrize(
    ("glibc", "versions", "chosen"),
    [
        ("2.41", ["3.10", "3.11", "3.13"], "3.13"),
        ("2.39", ["3.10", "3.11"], "3.11"),
        ("2.39", ["3.10"], "3.10"),
        ("2.36", ["3.10", "3.13"], "3.10"),
    ],
)
def test_the_newest_python_that_fits_the_glibc_is_taken(machine, tmp_path, glibc, versions, chosen):
    code, lines = machine(glibc, versions)
    assert (code, lines) == (
        0,
        [
            f"Python {chosen}.9 in .venv (the newest here that works with glibc {glibc}; "
            "TFX 1.21 needs glibc 2.39 and Python 3.11 to 3.13)"
        ],
    )
    assert f"--python {tmp_path}/bin/python{chosen} " in (tmp_path / "synced").read_text()


def test_a_given_python_is_taken_and_kept(machine, tmp_path):
    versions = ["3.10", "3.13"]
    assert machine("2.41", versions, "PYTHON=3.10") == (0, ["Python 3.10.9 in .venv (PYTHON=3.10)"])
    in_a_minute = time.time() + 60
    os.utime(tmp_path / "uv.lock", (in_a_minute, in_a_minute))
    command = ["make", ".venv/.ready"]
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "Python 3.10.9 in .venv (PYTHON=3.10)\n"
    assert machine("2.41", versions)[1][0].startswith("Python 3.13.9 in .venv (the newest here")


def test_a_python_that_does_not_fit_the_glibc_is_refused(machine, tmp_path):
    code, lines = machine("2.36", ["3.10", "3.11"], "PYTHON=3.11")
    assert code == 2
    assert lines[0] == "make: expected one of Python 3.10, which have a TFX for glibc 2.36, got 3.11."
    assert not (tmp_path / "synced").exists()


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"id": "echo 1000"}, "debootstrap needs root"),
        ({"uname": "echo aarch64"}, "TFX has no wheels for aarch64"),
        ({"debootstrap": "echo no mirror; exit 1"}, "debootstrap failed: no mirror"),
    ],
)
def test_a_machine_without_a_debian_13_root_is_told_why(tmp_path, programs, reason):
    for name, script in ({"id": "echo 0", "uname": "echo x86_64"} | programs).items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DEBIAN13_ROOT": str(tmp_path / "root")}
    done = subprocess.run(
        [REPOSITORY / ".ci" / "debian13", "true"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 77
    assert done.stderr.startswith(f"debian13: no Debian 13 root: {reason}")
    assert done.stderr.count("\n") == 1
