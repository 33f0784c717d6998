"""SurfaceRename: copies a model of a renamed surface, and writes the new name into the copy."""

import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Model
from tfx.utils import io_utils

from models.state import rename_surface


@component
def SurfaceRename(
    model: InputArtifact[Model],
    renamed: OutputArtifact[Model],
    surface: Parameter[str],
    serving_before: Parameter[str],
    serving: Parameter[str],
) -> None:
    """Copies a model for another surface; copies the served model too, so that serving goes on.

    Args:
        model: the last good model of the surface under its earlier name, or the empty marker.
        renamed: the copy; its training state names `surface`.
        surface: the new name.
        serving_before: folder with the versions of the served model under the earlier name; empty: no copy.
        serving: folder of the served model under the new name; unchanged if it has a version already.
    """
    io_utils.copy_dir(model.uri, renamed.uri)
    rename_surface(renamed.uri, surface)
    if serving_before:
        copy_newest_version(serving_before, serving)


def copy_newest_version(source: str, target: str) -> None:
    """Copies the newest version of a served model, unless `target` has a version.

    The copy gets its name when it is complete: a server may look at the folder at any time.
    """
    versions = _versions(source)
    if not versions or _versions(target):
        return
    newest = str(max(versions))
    partial = os.path.join(target, f"copy-of-{newest}")
    if fileio.exists(partial):
        fileio.rmtree(partial)
    io_utils.copy_dir(os.path.join(source, newest), partial)
    fileio.rename(partial, os.path.join(target, newest))


def _versions(folder: str) -> list[int]:
    if not fileio.exists(folder):
        return []
    names = [str(name).rstrip("/") for name in fileio.listdir(folder)]
    return [int(name) for name in names if name.isdigit()]
