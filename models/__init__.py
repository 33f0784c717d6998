"""TensorFlow code: features, ranker, losses, training, scoring and serving.

No module here imports TFX, Beam or a cloud client. The modules of the settings (`Task`, `Feature`,
`Distillation`, `Architecture`, `Optimizer`, `TrainingJob`) do not import TensorFlow either, so a
configuration is checked fast.
"""

import os

# Both must be set before TensorFlow is imported. TensorFlow Recommenders does not work with Keras 3.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
