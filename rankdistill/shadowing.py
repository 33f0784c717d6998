"""Refuses to start if a package of another distribution hides a package of rankdistill."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGES = ("eventlog", "models", "components", "pipeline", "experiments")
"""The other import packages of rankdistill. Other distributions have packages with some of these names."""


def refuse_shadowed_packages() -> None:
    """Checks that Python finds each package in the same folder as `rankdistill`, without importing it.

    Raises:
        ImportError: if a package is missing, or a package of another distribution comes first on `sys.path`.
    """
    root = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ImportError(
                f"package {package!r} is missing: expected {root / package}, got no such package. "
                "Install rankdistill again."
            )
        if spec.origin is None or Path(spec.origin).resolve().parents[1] != root:
            found = spec.origin or list(spec.submodule_search_locations or ())
            raise ImportError(
                f"package {package!r} is hidden: expected {root / package}, got {found}. "
                "Uninstall the other package, start from another directory, or install rankdistill into its "
                "own environment."
            )
