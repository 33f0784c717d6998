"""The teacher's loop and the surfaces' loops as processes of their own, on one machine and label store."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from components.span_records import TEACHER
from eventlog.errors import BadInput
from pipeline.config import Deployment

PROCESS_GIB = 2.5
"""What one loop may need: TFX and TensorFlow take 1.3 GiB, models, examples and Beam the rest."""
_POLL_SECONDS = 1.0
_RESTARTS = 5


@dataclasses.dataclass(frozen=True)
class Member:
    """One process of the fleet.

    Attributes:
        name: Its folder under the fleet's root.
        branches: What it runs.
    """

    name: str
    branches: tuple[str, ...]


def plan_fleet(deployment: Deployment, processes: int, memory_gib: float) -> list[Member]:
    """Shares the surfaces out over as many processes as asked for and as the memory allows.

    Args:
        deployment: Names the surfaces.
        processes: How many students' loops there may be beside the teacher's.
        memory_gib: What all of them together may need.

    Raises:
        BadInput: if there is no room for the teacher and one more.
    """
    room = int(memory_gib / PROCESS_GIB) - 1
    if processes < 1 or room < 1:
        raise BadInput(
            "no room for a fleet", where="--processes, --memory-gib",
            expected=f"at least 1 process beside the teacher's and {2 * PROCESS_GIB:g} GiB",
            got=f"{processes} processes and {memory_gib:g} GiB",
            fix="Give it more, or run all branches in one process with `rankdistill serve-loop`.",
        )  # fmt: skip
    surfaces = tuple(deployment.surfaces)
    number = min(processes, room, len(surfaces))
    students = [Member(f"students-{n}", surfaces[n::number]) for n in range(number)]
    return [Member(TEACHER, (TEACHER,)), *students]


def run_fleet(
    members: Sequence[Member],
    root: Path,
    options: Sequence[str],
    say: Callable[[str], None],
    told: threading.Event,
) -> int:
    """Starts every member's loop, starts one again that was killed, and stops all when told to.

    Args:
        members: See `plan_fleet`.
        root: Each member gets a root of its own below it.
        options: Of `serve-loop`, the same for all.
        say: Takes lines for people.
        told: Set from outside when all are to stop.

    Returns:
        The exit code: 0, or that of the first member that ended by itself with another one.
    """
    running = {member: _start(member, root, options) for member in members}
    starts = dict.fromkeys(members, 1)
    status = 0
    while running and not told.is_set() and not status:
        told.wait(_POLL_SECONDS)
        for member, process in list(running.items()):
            code = process.poll()
            if code is None:
                continue
            del running[member]
            if code < 0 and starts[member] <= _RESTARTS:
                say(f"{member.name} was killed by signal {-code}; it goes on")
                running[member] = _start(member, root, options)
                starts[member] += 1
            elif code:
                say(f"{member.name} ended with exit code {code}; its log is {_log(member, root)}")
                status = abs(code)
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()
    return status


def _start(member: Member, root: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
    own = root / member.name
    own.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rankdistill", "serve-loop", "--root", str(own), *options]
    command += [argument for branch in member.branches for argument in ("--branch", branch)]
    if TEACHER not in member.branches:
        command += ["--teacher-root", str(root / TEACHER)]
    with _log(member, root).open("ab") as log:
        # A session of its own: Ctrl-C reaches the fleet alone, which then stops everybody in order.
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _log(member: Member, root: Path) -> Path:
    return root / f"{member.name}.log"
