"""No module names a column, task or entity of a data set, except the adapters and their users."""

import re
from pathlib import Path

from eventlog.kuairand.columns import FEATURE_COLUMNS, HISTORY, LOG_COLUMNS
from tests.conftest import REPOSITORY

ROOMS = ("eventlog", "models", "components", "pipeline", "experiments", "rankdistill", "kubeflow")
ADAPTERS = ("eventlog/kuairand/", "eventlog/simulator/", "eventlog/random_exposures")
GUESSES = "pipeline/new_deployment/"
"""Looks for common words, such as `user`, in the names of any table."""
NAMES = (*FEATURE_COLUMNS.names, *LOG_COLUMNS.delays, *HISTORY.entities)
# A name counts where it is a text or a code word, such as "click" or `label_click`, not in a sentence.
NAMED = re.compile(
    rf"""["'`](label_|soft_|true_)?({"|".join(NAMES)})["'`]|history_({"|".join(HISTORY.entities)})"""
)


def named_columns(text: str) -> list[str]:
    return [match.group() for match in NAMED.finditer(text)]


def test_only_adapters_name_columns():
    files = [file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py")]
    found = [
        f"{path}: {name}"
        for file in files
        if not (path := str(file.relative_to(REPOSITORY))).startswith((*ADAPTERS, GUESSES))
        for name in named_columns(Path(file).read_text())
    ]
    assert not found, "\n".join(found)


def test_names_are_found_in_code_and_not_in_sentences():
    assert named_columns('table["video_id"]') == ['"video_id"']
    assert named_columns("the labels in `label_click`") == ["`label_click`"]
    assert named_columns("history_user_count") == ["history_user"]
    assert named_columns("files like this one; click on it") == []
