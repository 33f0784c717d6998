"""The glossary's retired words are used nowhere."""

import re
import subprocess

from tests.conftest import REPOSITORY

RETIRED = (
    r"re-?stated?\b",
    r"leftovers?\b",
    r"\bby heart\b",
    r"\bhands? back\b",
    r"\bwhoever\b",
    r"\bin place of\b",
    r"\blooks? after\b",
    r"\btold\b",
    r"\bhears?\b",
    r"\bstretch(es)?\b",
    r"\bchatter\b",
    r"\bNotYet\b",
    r"\bbeginnings?\b",
    r"\bunlearnt?\b",
    r"\bbootstrap_(spans|pipeline|components)\b",
)
CORPUS = "tests/fuzz/corpus/"
UNREAD = ("docs/glossary.md", "tests/test_words.py", "uv.lock", "LICENSE", "docs/releases.md")


def test_no_retired_word_is_used():
    listing = ["git", "ls-files", "--", "*.py", "*.md", "*.yaml", "*.toml", "Makefile", ".ci/run", "kubeflow"]
    files = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile("|".join(RETIRED), re.IGNORECASE)
    found = [
        f"{name}:{number}: {match.group()}"
        for name in files
        if name not in UNREAD and not name.startswith(CORPUS) and (REPOSITORY / name).is_file()
        for number, line in enumerate((REPOSITORY / name).read_text().splitlines(), 1)
        if (match := pattern.search(line))
    ]
    assert not found, "\n".join(found)


def test_every_retired_word_is_found_in_prose_that_has_it():
    for word in (
        "a re-stated span",
        "leftovers",
        "by heart",
        "Whoever",
        "in place of",
        "stretch",
        "NotYet",
    ):
        assert re.search("|".join(RETIRED), word, re.IGNORECASE), word
