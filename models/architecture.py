"""Settings for the size and shape of a ranker."""

from __future__ import annotations

from models.settings import settings

_MAX_WIDTH = 65_536


@settings
class Architecture:
    """Layer sizes of a ranker, and the settings that stabilise its training.

    Attributes:
        embedding_size: number of columns of every embedding table.
        trunk: widths of the hidden layers that all tasks share; may be empty.
        tower: widths of the hidden layers of each task; may be empty.
        cross_layers: number of TFRS `Cross` layers (DCN-v2) between the features and the trunk.
        dropout: share of hidden units dropped in training, in [0, 1).
        input_dropout: share of embedding and number inputs dropped in training, in [0, 1). It prevents
            overfitted embeddings when a student trains on a span in several passes.
        activation_clip: upper limit of the activation of a hidden unit, > 0; None: no limit.

    Reference: Khani et al., RecSys '24: activation clipping stabilises a large teacher.
    """

    embedding_size: int
    trunk: tuple[int, ...]
    tower: tuple[int, ...] = ()
    cross_layers: int = 0
    dropout: float = 0.0
    input_dropout: float = 0.0
    activation_clip: float | None = None

    def __post_init__(self) -> None:
        sizes = (self.embedding_size, *self.trunk, *self.tower)
        if min(sizes) < 1:
            raise ValueError(f"embedding_size and all layer widths must be >= 1, got {sizes}.")
        if max(sizes) > _MAX_WIDTH:
            raise ValueError(f"embedding_size and all layer widths must be <= {_MAX_WIDTH}, got {sizes}.")
        if self.cross_layers < 0:
            raise ValueError(f"cross_layers must be >= 0, got {self.cross_layers}.")
        for name, share in (("dropout", self.dropout), ("input_dropout", self.input_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be in [0, 1), got {share}. Use 0 to switch it off.")
        if self.activation_clip is not None and not self.activation_clip > 0:
            raise ValueError(
                f"activation_clip must be > 0, got {self.activation_clip}. Use null for no limit."
            )
