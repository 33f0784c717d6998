"""Reduces the logs of TensorFlow, TFX and Beam; called before they are imported."""

from __future__ import annotations

import logging
import os
import warnings

import absl.logging

OUR_PACKAGES = ("eventlog", "models", "components", "pipeline", "experiments", "rankdistill")


def silence_other_packages() -> None:
    """Shows warnings of this project, and errors of other packages. Call before importing TensorFlow.

    TFX and TensorFlow's C++ code log only fatal errors.
    """
    # TensorFlow's C++ log has messages at every start: cuDNN "already registered", CPU features, oneDNN.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # google.api_core warns about the end of Python 3.10 at every import.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    # TFX logs through absl, which has its own level.
    absl.logging.set_verbosity(absl.logging.FATAL)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.WARNING)
