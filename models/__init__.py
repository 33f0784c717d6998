"""TensorFlow code: features, ranker, losses, training, scoring and serving. No TFX, no Beam, no cloud.

The settings (`Task`, `Feature`, `Distillation`, `Architecture`, `Optimizer`, `TrainingJob`) are in modules
that do not import TensorFlow, so a configuration is checked fast.
"""

import os

# Both must be set before TensorFlow is imported. TFRS does not work with Keras 3.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
