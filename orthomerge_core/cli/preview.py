"""`orthomerge preview`: run an API workflow on a running ComfyUI and save its images."""

from __future__ import annotations

from pathlib import Path

import click

from .bar import Bar
from .common import FILE, echo_json, json_flag, make_folder, quiet_flag
from .workflow_inputs import set_input
from .workflow_run import DEFAULT_API, client, read_workflow

__all__ = ["preview"]


@click.command(short_help="Run a workflow on ComfyUI and save its images.")
@click.argument("workflow", type=FILE)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NODE.INPUT=VALUE",
    help="Change an input first. NODE is an id, a title or a class; INPUT may lead into the JSON "
    "text of an input: OrthoMixer.table.rows.detail.alpha=0.3.",
)
@click.option("--api", default=None, help=f"Address of ComfyUI; COMFYUI_API or {DEFAULT_API}.")
@click.option("-o", "--output", type=FILE, default=Path(), help="Folder for the images.")
@click.option("--timeout", default=3600.0, show_default=True, help="Give up after so many seconds.")
@json_flag
@quiet_flag
def preview(
    workflow: Path,
    changes: tuple[str, ...],
    api: str | None,
    output: Path,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Post WORKFLOW (saved with "Export (API)") to a running ComfyUI and save its images.

    The exit code is 1 where ComfyUI refused a node, even if other nodes ran.
    """
    graph = read_workflow(workflow)
    for change in changes:
        set_input(graph, change)
    make_folder(output)
    comfy = client(api)
    with Bar(quiet=quiet) as bar:
        run = comfy.run(graph, bar, timeout)
    saved = [comfy.save(image, output) for image in run.images]
    if as_json:
        echo_json(
            {
                "prompt_id": run.prompt_id,
                "images": [path.name for path in saved],
                "texts": run.texts,
                "refused": run.refused,
            }
        )
    else:
        for text in run.texts:
            click.echo(text)
        for path in saved:
            click.echo(f"Saved {path.name}")
        if not saved:
            click.echo("The workflow made no image.")
    for reason in run.refused:
        click.echo(f"Not run: {reason}", err=True)
    return 1 if run.refused else 0
