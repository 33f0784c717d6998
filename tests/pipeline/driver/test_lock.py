import fcntl
import os
import signal
import subprocess
import sys
import threading
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


def test_a_lock_that_status_holds_for_an_instant_is_waited_for(tmp_path):
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        release = threading.Timer(0.15, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        release.start()
        with exclusive_loop_lock(tmp_path):
            assert (tmp_path / ".lock").read_text() == str(os.getpid())
        release.join()


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
