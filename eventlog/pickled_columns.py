"""Makes every Arrow reader of the process refuse columns of pickled Python code, instead of running it.

pyarrow before 14.0.1 unpickles the metadata of the extension type `arrow.py_extension_type`, which runs code
from a file. `pyarrow_hotfix` makes such a pyarrow refuse the type. Newer versions run no code and read the
column under its plain type; here they refuse it too, so that both platforms give the same error.

Reference: CVE-2023-47248.
"""

from __future__ import annotations

import traceback
from typing import Any

import pyarrow as pa

_NAME = "arrow.py_extension_type"


class _RefusedType(pa.ExtensionType):
    """Takes the place of pyarrow's own type; raises when a file or stream has such a column."""

    def __init__(self) -> None:
        super().__init__(pa.null(), _NAME)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        raise ValueError(f"a column of type {_NAME}")


if int(pa.__version__.partition(".")[0]) < 15:
    import pyarrow_hotfix  # noqa: F401  # the import replaces the type
else:
    pa.unregister_extension_type(_NAME)
    pa.register_extension_type(_RefusedType())


def is_refusal(error: Exception) -> bool:
    """Whether an error of pyarrow says that data has a column of pickled Python code."""
    # pyarrow_hotfix raises RuntimeError, or an error of pickletools if the pickle is malformed.
    return any(
        frame.name == "__arrow_ext_deserialize__" for frame in traceback.extract_tb(error.__traceback__)
    )
