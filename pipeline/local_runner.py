"""Pipeline file for `tfx pipeline create --engine=local --pipeline_path=pipeline/local_runner.py`."""

import models  # noqa: F401 - selects Keras 2 before TFX imports TensorFlow
from pipeline.errors import exit_on_bad_input
from pipeline.tfx_cli.local_runner import main

if __name__ == "__main__":
    exit_on_bad_input("rankdistill", main)
