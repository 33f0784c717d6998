"""Refuses to start where another distribution's package hides one of ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGES = ("eventlog", "models", "components", "pipeline", "experiments")
"""Our import packages beside `rankdistill`; some of their names are common."""


def refuse_shadowed_packages() -> None:
    """Looks up each of our packages without importing it.

    Raises:
        ImportError: if a package is found elsewhere than beside `rankdistill`: the first of this name on
            `sys.path` is not ours.
    """
    ours = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != ours:
            raise ImportError(
                f"package {package!r} is hidden: expected {ours / package}, got {_described(spec)}; "
                f"uninstall the other package, or install rankdistill into an environment of its own."
            )


def _described(spec: importlib.machinery.ModuleSpec | None) -> str:
    if spec is None:
        return "none"
    return str(spec.origin or list(spec.submodule_search_locations or ()))
