import os
import subprocess
import sys

from tests.conftest import REPOSITORY

SCRIPT = """
import os
from pipeline.logging_setup import silence_other_packages
silence_other_packages()
silence_other_packages()
import tensorflow
assert type(tensorflow.__spec__.loader).__name__ == type(tensorflow.__loader__).__name__ == "SourceFileLoader"
os.write(2, b"after")
"""


def imported(folder, source):
    package = folder / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        cwd=folder,
    )


def test_messages_of_tensorflow_s_import_are_discarded(tmp_path):
    done = imported(tmp_path, "import os\nos.write(2, b'no CUDA drivers')\n")
    assert (done.returncode, done.stderr) == (0, b"after")


def test_an_exception_of_tensorflow_s_import_is_shown(tmp_path):
    done = imported(tmp_path, "raise ImportError('no libtensorflow')\n")
    assert done.returncode == 1
    assert done.stderr.endswith(b"ImportError: no libtensorflow\n")
