"""Reads the code blocks of README and docs, each with the mark in front of it.

A mark is an HTML comment on the line before the block:

    <!-- run -->                  the block is run as it is
    <!-- run small: A => B -->    the block is run with B instead of A
    <!-- not run: REASON -->      the block is not run
"""

import re
from typing import NamedTuple

from tests.conftest import REPOSITORY

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.M | re.S,
)
_SMALL = re.compile(r"run small: (?P<old>.+?) => (?P<new>.+)")


class Block(NamedTuple):
    """A fenced block: its page, line, language and text, and its mark; None without one."""

    page: str
    line: int
    language: str
    text: str
    mark: str | None

    @property
    def is_run(self):
        return self.mark is not None and not self.mark.startswith("not run")

    def script(self):
        """The text to run."""
        small = _SMALL.fullmatch(self.mark)
        if small is None:
            return self.text
        assert small["old"] in self.text, f"{self.page}:{self.line}: {small['old']!r} is not in the block"
        return self.text.replace(small["old"], small["new"])


def pages():
    """README and every page of the site, README first."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(page):
    """The blocks of a page, in order."""
    content = page.read_text()
    return [
        Block(
            page=str(page.relative_to(REPOSITORY)),
            line=content.count("\n", 0, found.start("text")),
            language=found["language"],
            text=re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M),
            mark=found["mark"],
        )
        for found in _BLOCK.finditer(content)
    ]
