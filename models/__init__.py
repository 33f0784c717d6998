"""TensorFlow, Keras, TFRS and TFT: features, ranker, losses, training, serving. No TFX, no Beam, no cloud.

Settings (`Task`, `Feature`, `Distillation`, `Architecture`, `Optimizer`, `TrainingJob`) are in modules that
never import TensorFlow, so that a configuration is checked without waiting for it.
"""

import os

# TFRS refuses Keras 3, and both have to be said before TensorFlow is first imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
