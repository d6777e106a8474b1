"""`orthomerge preview`: run an API workflow on a running ComfyUI and save its images."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import RecipeError
from .bar import Bar
from .comfy_api import ComfyApi
from .common import FILE, echo_json, json_flag, make_folder, quiet_flag, read_json
from .workflow_inputs import set_input

__all__ = ["preview"]

_DEFAULT = "http://127.0.0.1:8188"


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
@click.option("--api", default=None, help=f"Address of ComfyUI; COMFYUI_API or {_DEFAULT}.")
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
    graph = read_json(workflow, "an API workflow")
    if not isinstance(graph, dict) or not all(_is_node(node) for node in graph.values()):
        raise RecipeError(
            f'"{workflow.name}" is not an API workflow',
            fix='In ComfyUI choose "Export (API)" and use that file.',
        )
    for change in changes:
        set_input(graph, change)
    make_folder(output)
    client = ComfyApi(api or os.environ.get("COMFYUI_API") or _DEFAULT)
    with Bar(quiet=quiet) as bar:
        run = client.run(graph, bar, timeout)
    saved = [client.save(image, output) for image in run.images]
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


def _is_node(node: object) -> bool:
    return isinstance(node, dict) and "class_type" in node
