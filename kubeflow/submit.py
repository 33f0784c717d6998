"""Uploads compiled pipelines to Kubeflow Pipelines and runs them: once, on a schedule or over spans."""

from pathlib import Path

import click

from pipeline.errors import exit_on_bad_input

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", required=True, envvar="KFP_HOST", help="URL of Kubeflow Pipelines (or KFP_HOST).")
@click.option("--token", default="", envvar="KFP_TOKEN", help="Bearer token (or KFP_TOKEN).")
@click.option("--namespace", default="", help="Namespace, on a multi-user installation.")
@click.option(
    "--experiment", default="rankdistill", show_default=True, help="Kubeflow experiment of the runs."
)
@click.option("--service-account", default="", help="Kubernetes service account of the runs.")
@click.option("--dry-run", is_flag=True, help="Print the actions; send no request.")
@click.pass_context
def main(
    context: click.Context,
    host: str,
    token: str,
    namespace: str,
    experiment: str,
    service_account: str,
    dry_run: bool,
) -> None:
    """Upload, run and schedule the pipelines that compile.py wrote. Unchanged files are not sent again."""
    from pipeline.logging_setup import silence_other_packages

    silence_other_packages()
    from pipeline.kubeflow.submission import KubeflowClient

    context.obj = None if dry_run else KubeflowClient(host, token, namespace, experiment, service_account)


@main.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.pass_obj
def upload(client, files: tuple[Path, ...]) -> None:
    """Upload the pipelines in FILES, each as a new version."""
    from pipeline.kubeflow.submission import read_package

    for package in [read_package(file) for file in files]:
        if client is None:
            click.echo(f"would upload {package.path} as {package.name}, version {package.version}")
            continue
        _, version_id, is_new = client.upload(package)
        outcome = "uploaded" if is_new else "already there"
        click.echo(f"{package.name}, version {package.version}: {outcome} ({version_id})")


@main.command()
@click.argument("file", type=_FILE)
@click.option("--span", type=int, default=None, help="Span to run. Default: the next due span.")
@click.option("--wait", is_flag=True, help="Wait until the run has succeeded.")
@click.pass_obj
def run(client, file: Path, span: int | None, wait: bool) -> None:
    """Run the pipeline in FILE once."""
    from pipeline.kubeflow.submission import read_package

    package = read_package(file)
    if client is None:
        click.echo(f"would run {package.name}, {'the next due span' if span is None else f'span {span}'}")
        return
    run_id = client.run(package, span)
    click.echo(f"{package.name}: run {run_id}")
    if wait:
        client.wait(run_id, package.name)


@main.command()
@click.argument("file", type=_FILE)
@click.option("--cron", required=True, help="Six fields, seconds first. Every ten minutes: '0 */10 * * * *'.")
@click.pass_obj
def schedule(client, file: Path, cron: str) -> None:
    """Run the pipeline in FILE on a schedule, each time for the next due span.

    The new schedule replaces the pipeline's earlier ones in the same Kubeflow experiment.
    """
    from pipeline.kubeflow.submission import read_package

    if len(cron.split()) != 6:
        raise click.UsageError(f"--cron must have six fields, seconds first, got {cron!r}.")
    package = read_package(file)
    if client is None:
        click.echo(f"would schedule {package.name} at {cron}")
        return
    recurring_run_id, num_replaced = client.schedule(package, cron)
    click.echo(f"{package.name}: recurring run {recurring_run_id}, replaced {num_replaced} earlier ones")


@main.command()
@click.argument("file", type=_FILE)
@click.option("--spans", required=True, help="First and last span, as A:B.")
@click.pass_obj
def backfill(client, file: Path, spans: str) -> None:
    """Run the pipeline in FILE for each span of a range, one after another.

    Unlike `rankdistill backfill`, which only labels, this command also trains.
    """
    from eventlog.spans import parse_range
    from pipeline.kubeflow.submission import read_package

    package, span_range = read_package(file), parse_range(spans)
    if client is None:
        click.echo(f"would run {package.name}, spans {span_range[0]} to {span_range[-1]}, one after another")
        return
    client.backfill(package, span_range, click.echo)


if __name__ == "__main__":
    exit_on_bad_input("submit.py", lambda: main(standalone_mode=False))
