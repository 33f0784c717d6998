"""Packs this project's code for Beam workers that run on other machines."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)

from eventlog.shipped_schema import shipped_schema

_LOCAL_RUNNERS = ("direct", "fnapi", "bundlebaseddirect")
"""Names as Beam compares them: in lower case, without the suffix `Runner`."""
_ENVIRONMENTS_WITH_CODE = ("LOOPBACK", "EXTERNAL")
"""Types of Beam environments whose workers have the code: this process or the user starts the workers."""
_PACKAGES = ("rankdistill", "eventlog", "models", "components", "pipeline", "experiments")
_SETUP_SCRIPT = """
from setuptools import find_packages, setup

data = ["py.typed", "schema/*", "configs/*.yaml"]
setup(name="rankdistill", version={version!r}, packages=find_packages(), package_data={{"": data}})
"""


def has_workers_elsewhere(beam_options: Sequence[str]) -> bool:
    """Whether the runner in the options is not a local one, so that its workers may lack this project's
    code.
    """
    options = PipelineOptions(list(beam_options)).view_as(StandardOptions)
    runner = options.runner or StandardOptions.DEFAULT_RUNNER
    return runner.lower().removesuffix("runner") not in _LOCAL_RUNNERS


def with_worker_package(beam_options: Sequence[str]) -> list[str]:
    """Returns the options, with `--extra_package` added if the workers would not have this project's code.

    Options with a setup file, an extra package or a container image are returned unchanged.
    """
    options = PipelineOptions(list(beam_options))
    setup = options.view_as(SetupOptions)
    has_package = (
        setup.setup_file or setup.extra_packages or options.view_as(WorkerOptions).sdk_container_image
    )
    has_code = options.view_as(PortableOptions).environment_type in _ENVIRONMENTS_WITH_CODE
    if has_package or has_code or not has_workers_elsewhere(beam_options):
        return list(beam_options)
    return [*beam_options, f"--extra_package={build_worker_package()}"]


@functools.cache
def build_worker_package() -> Path:
    """Builds a source distribution of the code that this process runs, from a checkout or an installed wheel.

    Returns:
        The path of the `.tar.gz`. The file is built once per process and removed at the end of the process.

    Raises:
        RuntimeError: if a package of this project cannot be imported.
    """
    source, output = Path(_scratch_folder().name, "build"), Path(_scratch_folder().name, "dist")
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"package {package!r} is not importable: the installation is not complete.")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(spec.origin).parent, source / package, ignore=ignored, dirs_exist_ok=True)
    schemas = shipped_schema("impressions.pbtxt").parent
    shutil.copytree(schemas, source / "rankdistill" / "schema", dirs_exist_ok=True)
    version = importlib.metadata.version("rankdistill")
    (source / "setup.py").write_text(_SETUP_SCRIPT.format(version=version))
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--formats=gztar", "--dist-dir", str(output)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(output.glob("*.tar.gz"))


@functools.cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="rankdistill-workers-")
