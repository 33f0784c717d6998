"""Runs the teacher's loop and the students' loops as processes on one machine, with one label store."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from components.span_records import TEACHER
from eventlog.errors import BadInput
from pipeline.config import Deployment

PROCESS_GIB = 2.5
"""Memory of one loop: TFX and TensorFlow take 1.3 GiB; models, examples and Beam take the rest."""
_POLL_SECONDS = 1.0
_MAX_STARTS = 6
"""Maximum starts of one process within `_START_WINDOW_SECONDS`; the next kill stops the fleet."""
_START_WINDOW_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True)
class LoopProcess:
    """One process: the teacher's loop, or a loop of some students.

    Attributes:
        name: Name of the process and of its folder under the root.
        branches: The branches that the process runs.
    """

    name: str
    branches: tuple[str, ...]


def plan_processes(deployment: Deployment, processes: int, memory_gib: float) -> list[LoopProcess]:
    """Distributes the surfaces over at most `processes` processes; little memory allows fewer.

    Args:
        deployment: The configuration.
        processes: Maximum number of students' processes, beside the teacher's.
        memory_gib: Memory of all processes together.

    Returns:
        The teacher's process, then the students' processes.

    Raises:
        BadInput: if the memory does not suffice for the teacher's process and one more, or `processes` is 0.
    """
    max_by_memory = int(memory_gib / PROCESS_GIB) - 1
    if processes < 1 or max_by_memory < 1:
        raise BadInput(
            "too few processes or too little memory for a fleet", where="--processes, --memory-gib",
            expected=f"at least 1 process beside the teacher's and {2 * PROCESS_GIB:g} GiB",
            got=f"{processes} processes and {memory_gib:g} GiB",
            fix="Raise the limits, or run all branches in one process with `rankdistill serve-loop`.",
        )  # fmt: skip
    surfaces = tuple(deployment.surfaces)
    num_loops = min(processes, max_by_memory, len(surfaces))
    students = [LoopProcess(f"students-{i}", surfaces[i::num_loops]) for i in range(num_loops)]
    return [LoopProcess(TEACHER, (TEACHER,)), *students]


def run_fleet(
    members: Sequence[LoopProcess],
    root: Path,
    options: Sequence[str],
    print_line: Callable[[str], None],
    stop: threading.Event,
) -> int:
    """Starts all processes, restarts a process that a signal killed, and stops all if one fails.

    Args:
        members: See `plan_processes`.
        root: Each member has its own root in a folder below this one.
        options: Options of `serve-loop`, the same for all members.
        print_line: Prints a line on the console.
        stop: Event that ends all members when it is set.

    Returns:
        0, or the exit code of the first member that failed; 128 + N if signal N killed the member too often.
    """
    processes = {member: _start(member, root, options) for member in members}
    starts = {member: [time.monotonic()] for member in members}
    exit_code = 0
    while processes and not stop.is_set() and not exit_code:
        stop.wait(_POLL_SECONDS)
        for member, process in list(processes.items()):
            code = process.poll()
            if code is None:
                continue
            del processes[member]
            recent = [start for start in starts[member] if start > time.monotonic() - _START_WINDOW_SECONDS]
            if code < 0 and len(recent) < _MAX_STARTS:
                print_line(f"{member.name} was killed by signal {-code}; restarted")
                processes[member] = _start(member, root, options)
                starts[member] = [*recent, time.monotonic()]
            elif code:
                print_line(f"{member.name} ended with exit code {code}; its log is {_log_file(member, root)}")
                exit_code = exit_code or (code if code > 0 else 128 - code)
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        process.wait()
    return exit_code


def _start(member: LoopProcess, root: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
    member_root = root / member.name
    member_root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rankdistill", "serve-loop", "--root", str(member_root), *options]
    command += [argument for branch in member.branches for argument in ("--branch", branch)]
    if TEACHER not in member.branches:
        command += ["--teacher-root", str(root / TEACHER)]
    with _log_file(member, root).open("ab") as log:
        # A new session: Ctrl-C reaches only this process, which then stops the members in order.
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _log_file(member: LoopProcess, root: Path) -> Path:
    return root / f"{member.name}.log"
