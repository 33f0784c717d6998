"""Compiles a deployment's pipelines for Kubeflow or Vertex AI, checks them, and writes them as YAML."""

from pathlib import Path

import click
import yaml

from eventlog.errors import BadInput
from pipeline.errors import exit_on_bad_input

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", required=True, type=_FILE, help="YAML file of the deployment.")
@click.option("--out", type=_FOLDER, default=None, help="Output folder. Default: compiled/<name>.")
def main(config: Path, out: Path | None) -> None:
    """Write one YAML file for each pipeline of a deployment.

    The pipelines: burn-in; burn-in-SURFACE for each surface with its own burn-in; teacher;
    student-SURFACE for each surface; fleet, which runs teacher and students in one pipeline.
    """
    from pipeline.config_file import load_deployment
    from pipeline.logging_setup import silence_other_packages

    silence_other_packages()
    deployment = load_deployment(config)
    from pipeline.kubeflow.lint import find_faults
    from pipeline.kubeflow.target import compile_all

    documents_by_pipeline = compile_all(deployment)
    faults = [
        f"{name}: {fault}"
        for name, documents in documents_by_pipeline.items()
        for fault in find_faults(documents, deployment)
    ]
    if faults:
        raise BadInput(
            f"{len(faults)} faults in the compiled pipelines", where=str(config), expected="none",
            got=faults[0], fix="Correct the configuration. If it is correct, report a bug in the compiler.",
        )  # fmt: skip
    folder = out or Path("compiled") / deployment.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, documents in documents_by_pipeline.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(documents, sort_keys=True))
        click.echo(f"{path}: {len(documents[0]['root']['dag']['tasks'])} steps")


if __name__ == "__main__":
    exit_on_bad_input("compile.py", lambda: main(standalone_mode=False))
