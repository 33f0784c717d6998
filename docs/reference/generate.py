"""MkDocs hook: fills `configuration.md` and `mapping.md` with tables from the docstrings of the settings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from typing import Any

from eventlog.tables.mapping import TableMapping
from pipeline.config import Deployment

_MARKS = {"<!-- settings -->": Deployment, "<!-- settings of a mapping -->": TableMapping}
_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*)$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the text of each page."""
    for mark, root in _MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, settings_tables(root))
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page; mkdocs-click prints click's marker of "no default"."""
    return html.replace("<code>Sentinel.UNSET</code>", "")


def settings_tables(root: type = Deployment) -> str:
    """One section for each class of settings that `root` reaches, in the order of its keys."""
    sections = []
    for settings_class, place in _reachable(root, ""):
        title = place or "The file"
        rows = [
            f"| `{field.name}` | {_type_text(settings_class, field)} | {_default_text(field)} | {text} |"
            for field, text in _documented_fields(settings_class)
        ]
        summary = (settings_class.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        header = "| key | type | default | meaning |\n| --- | --- | --- | --- |"
        sections.append("\n".join([f"## {title}\n", f"{summary}\n", header, *rows]))
    return "\n\n".join(sections)


def _reachable(settings_class: type, place: str, seen: set[type] | None = None) -> list[tuple[type, str]]:
    """This class and all classes of settings below it, each with the path of its key."""
    seen = set() if seen is None else seen
    if settings_class in seen:
        return []
    seen.add(settings_class)
    found = [(settings_class, place)]
    hints = typing.get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):
        for inner, is_mapping in _settings_in(hints[field.name]):
            name = f"{field.name}.NAME" if is_mapping else field.name
            found += _reachable(inner, f"{place}.{name}" if place else name, seen)
    return found


def _settings_in(hint: Any, is_mapping: bool = False) -> list[tuple[type, bool]]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [(hint, is_mapping)]
    is_mapping = is_mapping or typing.get_origin(hint) is dict
    return [found for inner in typing.get_args(hint) for found in _settings_in(inner, is_mapping)]


def _documented_fields(settings_class: type) -> list[tuple[dataclasses.Field[Any], str]]:
    texts: dict[str, str] = {}
    for base in reversed(settings_class.__mro__):
        texts |= _attribute_texts(inspect.cleandoc(base.__doc__ or ""))
    fields = dataclasses.fields(settings_class)
    return [(field, texts.get(field.name, "").replace("|", "\\|")) for field in fields]


def _attribute_texts(docstring: str) -> dict[str, str]:
    """The entries of a docstring's section `Attributes`."""
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if entry := _ENTRY.match(line):
            names = entry.group(1).split(", ")
            texts |= dict.fromkeys(names, entry.group(2))
        elif line.strip():
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


def _type_text(settings_class: type, field: dataclasses.Field[Any]) -> str:
    hint = typing.get_type_hints(settings_class)[field.name]
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace("Literal", "one of ").replace("|", "or")


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return "*required*" if field.default_factory is dataclasses.MISSING else "empty or its defaults"
