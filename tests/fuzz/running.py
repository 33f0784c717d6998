"""Runs the fuzz targets: some fixed examples in `make test`, random ones for FUZZ_MINUTES in `make fuzz`."""

from __future__ import annotations

import atexit
import faulthandler
import hashlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st

from eventlog.errors import BadInput
from tests.conftest import REPOSITORY
from tests.fuzz.mutation import Case

T = TypeVar("T")
Check = Callable[[Case, Path], None]
"""Runs a target on a case in an empty folder; raises if the case ends in anything but success or BadInput."""

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
_CORPUS = Path(__file__).parent / "corpus"
_FOUND = REPOSITORY / "build" / "fuzz"
_EXAMPLES_PER_ROUND = 100
_SECONDS_PER_EXAMPLE = 60
"""An example that takes longer counts as a hang."""
_SETTINGS = hypothesis.settings(
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
)


def accepted(function: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
    """The function's result, or None if it raises BadInput with one line."""
    try:
        return function(*arguments, **options)
    except BadInput as error:
        assert str(error).isprintable(), f"a message that is not one printable line: {error!r}"
        return None


def corpus(target: str) -> list:
    """The saved cases of a target as parameters of a test."""
    folders = sorted(folder for folder in (_CORPUS / target).iterdir() if folder.is_dir())
    return [pytest.param(read_case(folder), id=folder.name) for folder in folders]


def read_case(folder: Path) -> Case:
    """Reads a case from its folder."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def write_case(case: Case, folder: Path) -> None:
    """Writes the files of a case into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in case.items():
        (folder / name).write_bytes(content)


def kept_folder() -> Path:
    """A folder for valid input that all cases share; it is deleted at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run_case(case: Case, check: Check) -> None:
    """Runs a target once on a case."""
    with tempfile.TemporaryDirectory() as folder:
        check(case, Path(folder))


def run_examples(target: str, cases: st.SearchStrategy[Case], check: Check, examples: int) -> None:
    """Runs a target on `examples` fixed examples, or on random ones for FUZZ_MINUTES if this is set.

    A failure leaves its smallest case in `build/fuzz/<target>`, also a hang or a crash of the interpreter.
    """
    run = _Run(target, check)
    if not MINUTES:
        hypothesis.settings(_SETTINGS, max_examples=examples, derandomize=True)(
            hypothesis.given(cases)(run.example)
        )()
        return
    end = time.monotonic() + 60 * MINUTES
    try:
        while time.monotonic() < end:
            hypothesis.settings(_SETTINGS, max_examples=_EXAMPLES_PER_ROUND)(
                hypothesis.given(cases)(run.example)
            )()
    finally:
        print(f"\n{target}: {run.num_examples} examples", *run.save_failures(), sep="\n", file=sys.__stderr__)


class _Run:
    """Runs examples of a target; while one runs, its case is on disk, so that a crash or hang leaves it."""

    def __init__(self, target: str, check: Check) -> None:
        self.num_examples = 0
        self._check = check
        self._folder = _FOUND / target
        self._failures: dict[tuple[str, int, type], Case] = {}

    def example(self, case: Case) -> None:
        """Runs the target on one case."""
        self.num_examples += 1
        running = self._folder / f"running-{os.getpid()}"
        if MINUTES:
            write_case(case, running)
            faulthandler.dump_traceback_later(_SECONDS_PER_EXAMPLE, exit=True, file=sys.__stderr__)
        try:
            run_case(case, self._check)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            file, line, *_ = next(frame for frame in reversed(frames) if _is_ours(frame.filename))
            smallest = self._failures.get((file, line, type(error)), case)
            self._failures[file, line, type(error)] = min(smallest, case, key=_size)
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(running, ignore_errors=True)

    def save_failures(self) -> Iterator[str]:
        """Saves the smallest case of each failure; yields a line for each."""
        for (file, number, kind), case in self._failures.items():
            name = hashlib.sha256(repr(sorted(case.items())).encode()).hexdigest()[:12]
            write_case(case, self._folder / name)
            yield f"{kind.__name__} in {file}:{number}: the case is in {self._folder / name}"


def _is_ours(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(REPOSITORY) and ".venv" not in path.parts


def _size(case: Case) -> int:
    return sum(map(len, case.values()))
