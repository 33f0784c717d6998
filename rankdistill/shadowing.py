"""Refuses to start if a package of another distribution hides one of ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGES = ("eventlog", "models", "components", "pipeline", "experiments")
"""Our other import packages; packages of other distributions have some of these names too."""


def refuse_shadowed_packages() -> None:
    """Checks that Python finds each of our packages in the folder that holds `rankdistill`; imports none.

    Raises:
        ImportError: if a package of another distribution comes first on `sys.path`, or ours is missing.
    """
    root = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve().parents[1] != root:
            locations = list(spec.submodule_search_locations or ()) if spec else None
            raise ImportError(
                f"package {package!r} is hidden: expected {root / package}, got {origin or locations}. "
                "Uninstall the other package, start from another directory, or install rankdistill into its "
                "own environment."
            )
