import io
import json
import logging

from rich.console import Console

from pipeline.driver.journal import Journal
from pipeline.driver.progress import Progress


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_and_pipelines_are_written_with_their_seconds(tmp_path):
    progress = Progress(Console(file=io.StringIO()), Journal(tmp_path / "root" / "loop.jsonl"))
    with progress.pipeline("span 3"), progress.step("Trainer_teacher", 1, 2):
        pass
    progress.print_line("waiting")

    step, pipeline, note = read(tmp_path / "root" / "loop.jsonl")
    assert (step["event"], step["pipeline"], step["step"]) == ("step", "span 3", "Trainer_teacher")
    assert (pipeline["event"], pipeline["pipeline"]) == ("pipeline", "span 3")
    assert 0 <= step["seconds"] <= pipeline["seconds"] < 5
    assert (note["event"], note["text"]) == ("note", "waiting")
    assert step["time"] > 1.6e9


def test_our_warnings_are_written_and_those_of_libraries_are_not(tmp_path):
    journal = Journal(tmp_path / "loop.jsonl")
    logger = logging.getLogger("components.candidate_check")
    logger.addHandler(journal)
    other = logging.getLogger("apache_beam.runners")
    other.addHandler(journal)
    try:
        logger.warning("teacher of %s discarded", "all surfaces")
        other.warning("noise")
    finally:
        logger.removeHandler(journal)
        other.removeHandler(journal)

    (line,) = read(tmp_path / "loop.jsonl")
    assert (line["event"], line["message"]) == ("warning", "teacher of all surfaces discarded")
    assert line["logger"] == "components.candidate_check"
