"""Reduces the logs of TensorFlow, TFX and Beam; called before they are imported."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import sys
import types
import warnings
from collections.abc import Iterator, Sequence

import absl.logging

OUR_PACKAGES = ("eventlog", "models", "components", "pipeline", "experiments", "rankdistill")


def silence_other_packages() -> None:
    """Shows warnings of this project, and errors of other packages. Call before importing TensorFlow.

    TFX and TensorFlow's C++ code log only fatal errors.
    """
    # TensorFlow's C++ log has messages at every start: cuDNN "already registered", CPU features, oneDNN.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _TensorFlowFinder())
    # google.api_core warns about the end of Python 3.10 at every import.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    # TFX logs through absl, which has its own level.
    absl.logging.set_verbosity(absl.logging.FATAL)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.WARNING)


class _TensorFlowFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow once, with a loader that discards what its C++ code writes while it is imported.

    TensorFlow 2.21 writes messages about missing CUDA drivers before it reads TF_CPP_MIN_LOG_LEVEL.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See the base class; None for all other modules."""
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(importlib.abc.Loader):
    """Loads a module as `loader` does, without standard error. Python's exceptions are not affected."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """See the base class."""
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        """See the base class."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with _without_standard_error():
            self._loader.exec_module(module)


@contextlib.contextmanager
def _without_standard_error() -> Iterator[None]:
    """Redirects the file descriptor 2, which C++ code writes to, to the null device."""
    saved = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123 - a device, not a path
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
