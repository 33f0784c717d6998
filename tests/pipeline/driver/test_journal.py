import io
import json
import logging
import time

from rich.console import Console

from pipeline.driver.journal import Journal
from pipeline.driver.progress import Progress


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_and_pipelines_are_written_with_their_seconds(tmp_path):
    start = round(time.time(), 3)
    progress = Progress(Console(file=io.StringIO()), Journal(tmp_path / "root" / "loop.jsonl"))
    with progress.pipeline("span 3"), progress.step("Trainer_teacher", 1, 2):
        pass
    progress.print_line("waiting")

    step, pipeline, note = read_lines(tmp_path / "root" / "loop.jsonl")
    assert (step["event"], step["pipeline"], step["step"]) == ("step", "span 3", "Trainer_teacher")
    assert (pipeline["event"], pipeline["pipeline"]) == ("pipeline", "span 3")
    assert 0 <= step["seconds"] <= pipeline["seconds"]
    assert (note["event"], note["text"]) == ("note", "waiting")
    assert start <= step["time"] <= note["time"]


def test_only_warnings_of_this_project_are_written(tmp_path):
    journal = Journal(tmp_path / "loop.jsonl")
    logger = logging.getLogger("components.candidate_check")
    logger.addHandler(journal)
    library = logging.getLogger("apache_beam.runners")
    library.addHandler(journal)
    try:
        logger.warning("teacher of %s discarded", "all surfaces")
        library.warning("not written")
    finally:
        logger.removeHandler(journal)
        library.removeHandler(journal)

    (line,) = read_lines(tmp_path / "loop.jsonl")
    assert (line["event"], line["message"]) == ("warning", "teacher of all surfaces discarded")
    assert line["logger"] == "components.candidate_check"
