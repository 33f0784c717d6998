"""Silences other packages' chatter at its source, so that what the user sees is ours."""

from __future__ import annotations

import logging
import os
import warnings

import absl.logging


def quieten() -> None:
    """Call before TensorFlow, TFX or Beam is imported; our own warnings and errors still show."""
    # TensorFlow's C++ lines: cuDNN and cuBLAS "already registered", CPU features, TensorRT.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # google.api_core announces the end of Python 3.10 on every import.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    # TFX logs through absl, whose level is its own.
    absl.logging.set_verbosity(absl.logging.FATAL)
    for ours in ("components", "models", "pipeline", "eventlog"):
        logging.getLogger(ours).setLevel(logging.WARNING)
