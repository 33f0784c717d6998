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
from pipeline.driver.lock import only_loop
with only_loop(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_loop_is_refused_and_told_who_is_there(tmp_path):
    with (
        exclusive_loop_lock(tmp_path / "root"),
        pytest.raises(BadInput, match=rf"root: another loop runs here: .*got process {os.getpid()}\."),
        exclusive_loop_lock(tmp_path / "root"),
    ):
        pass


def test_two_roots_do_not_mind_each_other(tmp_path):
    with exclusive_loop_lock(tmp_path / "one"), exclusive_loop_lock(tmp_path / "two"):
        pass


def test_the_lock_dies_with_its_holder(tmp_path):
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
