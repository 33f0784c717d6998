"""Names that event logs, schemas and pipelines accept, made from the names of columns and files."""

from __future__ import annotations

import re
import unicodedata

from eventlog.rows import FIXED_COLUMNS, LABEL_PREFIX, SOFT_PREFIX

_MAX_LENGTH = 40
YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def plain_name(text: str) -> str:
    """A name of lower-case letters, digits and `_`, at most 40 characters, not reserved in event logs."""
    letters = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", letters).strip("_").lower() or "column"
    # YAML reads a few words as truth values or null.
    is_reserved = name in FIXED_COLUMNS.names or name in YAML_WORDS
    if is_reserved or name.startswith((LABEL_PREFIX, SOFT_PREFIX)) or name[0].isdigit():
        name = f"column_{name}"
    return name[:_MAX_LENGTH]


def unique_name(name: str, names: set[str]) -> str:
    """The name, with a number at its end if it is among `names`; adds the result to `names`."""
    number, unique = 2, name
    while unique in names:
        unique, number = f"{name}_{number}", number + 1
    names.add(unique)
    return unique
