"""Reads a YAML file with one mapping; refuses keys that are not text or occur twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from eventlog.errors import BadInput

_MAX_VALUES = 100_000


def read_mapping(path: Path) -> dict[str, Any]:
    """Reads a YAML file with one mapping.

    Raises:
        BadInput: if the file is not UTF-8 or not a YAML mapping. Also if a key occurs twice or is not text
            (YAML 1.1 reads `no`, `on` and `yes` as booleans), or a value has no JSON form, such as a set.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _require_small(yaml.compose(text, Loader=_StrictLoader), {})
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        got = f"byte {error.object[error.start]:#x} at position {error.start}"
        raise _not_a_mapping(path, "UTF-8 text", got, "Save the file as UTF-8.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _not_a_mapping(path, "YAML with one mapping", str(error)) from error
    if not isinstance(document, dict):
        raise _not_a_mapping(path, "YAML with one mapping", type(document).__name__)
    try:
        json.dumps(document)
    except (TypeError, ValueError) as error:
        raise _not_a_mapping(path, "text, numbers, lists and mappings", str(error)) from error
    return document


def _require_small(node: yaml.Node | None, sizes: dict[int, int]) -> int:
    """Counts the values below a node, repeated ones as often as aliases repeat them.

    Args:
        node: the node.
        sizes: id of a node → its number of values, filled by this function.

    Raises:
        ConstructorError: if there are more than `_MAX_VALUES`.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in sizes:
        # An alias to a node around it would never end.
        sizes[id(node)] = _MAX_VALUES + 1
        children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
        sizes[id(node)] = 1 + sum(_require_small(child, sizes) for child in children)
    if sizes[id(node)] > _MAX_VALUES:
        raise yaml.constructor.ConstructorError(
            problem=f"more than {_MAX_VALUES} values, counted with aliases; write fewer aliases"
        )
    return sizes[id(node)]


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader; every key must be text and unique, and an error names the faulty line.

    Dates stay text, and so does `4:30`, which YAML 1.1 reads as a number of base 60. `1e-3` is a number.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Builds a value; see the base class.

        Raises:
            ConstructorError: if a value does not fit its YAML type, such as `!!int x`.
        """
        try:
            return super().construct_object(node, deep)
        except (AttributeError, IndexError, KeyError, ValueError) as error:
            # PyYAML does not catch the errors of its own conversions.
            line, kind = node.start_mark.line + 1, node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                problem=f"value {str(node.value)[:50]!r} in line {line} is no {kind}; write text in quotes"
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Builds a mapping; see the base class.

        Raises:
            ConstructorError: if a key is not text, or occurs twice.
        """
        first_lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            line = key_node.start_mark.line + 1
            if key_node.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key_node.value} in line {line} is no text; write it in quotes"
                )
            if key_node.value in first_lines:
                first = first_lines[key_node.value]
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key_node.value!r} twice, in lines {first} and {line}; remove one"
                )
            first_lines[key_node.value] = line
        return dict(super().construct_mapping(node, deep))


_BASE_60 = re.compile(r"[-+]?[0-9]+(:[0-9]+)+(\.[0-9_]*)?$")
# The first resolver that matches decides.
_StrictLoader.yaml_implicit_resolvers = {
    first: [
        ("tag:yaml.org,2002:str", _BASE_60),
        *((tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"),
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 reads a number with an exponent but without a decimal point as text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+"), list("-+0123456789")
)


def _not_a_mapping(path: Path, expected: str, got: str, fix: str = "Correct the file.") -> BadInput:
    return BadInput(
        "not a configuration", where=str(path), expected=expected, got=" ".join(got.split()), fix=fix
    )
