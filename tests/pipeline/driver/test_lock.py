import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventlog.errors import BadInput
from pipeline.driver.lock import exclusive_loop_lock

HOLD = """
import sys, time
from pathlib import Path
from pipeline.driver.lock import exclusive_loop_lock
with exclusive_loop_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_loop_is_refused_with_the_process_of_the_first(tmp_path):
    with (
        exclusive_loop_lock(tmp_path / "root"),
        pytest.raises(BadInput, match=rf"root: another loop runs here: .*got process {os.getpid()}\."),
        exclusive_loop_lock(tmp_path / "root"),
    ):
        pass


def test_two_roots_can_be_locked_at_the_same_time(tmp_path):
    with exclusive_loop_lock(tmp_path / "one"), exclusive_loop_lock(tmp_path / "two"):
        pass


def test_a_killed_process_releases_its_lock(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match=f"got process {holder.pid}"), exclusive_loop_lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with exclusive_loop_lock(tmp_path):
            pass
