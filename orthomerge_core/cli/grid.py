"""`orthomerge grid`: every cell of a grid as a recipe, or as a picture made by ComfyUI."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OrthoMergeError
from ..recipe.codec import dumps
from ..recipe.model import Recipe
from .bar import Bar
from .common import FILE, echo_json, json_flag, make_folder, quiet_flag, read_recipe, write_text

if TYPE_CHECKING:
    from ..grid.cells import Cell, Grid

__all__ = ["grid"]

_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')


@click.command(short_help="Vary a recipe along axes, as recipes or as one picture.")
@click.argument("recipe", type=FILE)
@click.option(
    "--axis",
    "axes",
    multiple=True,
    required=True,
    metavar="TARGET=VALUES",
    help="Columns, rows and pages, in this order: detail.alpha=0..1/5, method=each.",
)
@click.option("-o", "--output", type=FILE, required=True, help="Folder for the results.")
@click.option("--workflow", type=FILE, help="API workflow that merges and samples a recipe.")
@click.option("--image", "image_node", help="The node whose image is taken, if not the first.")
@click.option("--api", "--server", "api", help="Address of ComfyUI, as for preview.")
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds for one cell.")
@json_flag
@quiet_flag
def grid(
    recipe: Path,
    axes: tuple[str, ...],
    output: Path,
    workflow: Path | None,
    image_node: str | None,
    api: str | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write one recipe per cell of the axes, and with --workflow one labeled picture of them all.

    Cells that are there from a run before are not made again, so a grid that was stopped continues.
    """
    from ..grid.cells import make_grid

    made = make_grid(read_recipe(recipe), list(axes))
    make_folder(output)
    names = [_name(number, cell, made) for number, cell in enumerate(made.cells)]
    if workflow is None:
        for cell, name in zip(made.cells, names, strict=True):
            write_text(output / f"{name}.json", dumps(cell.setting.recipe) + "\n")
        files = [f"{name}.json" for name in names]
        _say(as_json, {"cells": files}, [f"Wrote {len(files)} recipes."])
        return 0
    pictures = _Pictures(made, names, output, workflow, image_node, api, timeout)
    with Bar(quiet=quiet) as bar:
        try:
            pictures.make(bar)
        finally:  # what is done is kept, also of a grid that was stopped
            found = pictures.assemble()
    total = len(made.cells)
    words = [f"{len(found)} of {total} cells", "Saved grid.png"]
    _say(as_json, {"cells": found, "picture": "grid.png"}, words)
    return 0 if len(found) == total else 1


class _Pictures:
    """The cells' images in a folder: PNGs that carry their recipe, named by what they show."""

    def __init__(
        self,
        made: Grid,
        names: list[str],
        folder: Path,
        workflow: Path,
        image_node: str | None,
        api: str | None,
        timeout: float,
    ) -> None:
        from .workflow_inputs import find_node
        from .workflow_run import WorkflowRunner, client, read_workflow

        graph = read_workflow(workflow)
        self._grid, self._names, self._folder = made, names, folder
        self._node = None if image_node is None else find_node(graph, image_node)
        self._comfy = client(api)
        self._runner = WorkflowRunner(self._comfy, graph, timeout_s=timeout)
        self._about = [
            {
                "orthomerge.recipe": dumps(cell.setting.recipe),
                "orthomerge.workflow": json.dumps(graph, sort_keys=True),
            }
            for cell in made.cells
        ]

    def make(self, bar: Bar) -> None:
        """Every cell that is not there yet, in the order that shares most work."""
        bar.start(float(len(self._names)), "Grid")
        for number, cell in enumerate(self._grid.cells):
            if self._there(number) is None:
                self._save(number, self._image(cell.setting.recipe, bar))
            bar.advance(1.0)

    def assemble(self) -> list[str]:
        """`grid.png` of the cells that are there; the names of their files."""
        import numpy as np
        from PIL.PngImagePlugin import PngInfo

        from ..report.grid_picture import grid_picture

        images = [self._there(number) for number in range(len(self._names))]
        found = [f"{n}.png" for n, image in zip(self._names, images, strict=True) if image]
        if not found:
            return []
        pixels = [None if image is None else np.asarray(image.convert("RGB")) for image in images]
        about = PngInfo()
        about.add_text("orthomerge.grid", json.dumps(self._grid.to_json(), allow_nan=False))
        self._write("grid.png", grid_picture(self._grid, pixels), about)
        return found

    def _image(self, recipe: Recipe, bar: Bar) -> bytes:
        run = self._runner.run(recipe, bar)
        images = run.images
        if self._node is not None:
            images = tuple(run.outputs.get(self._node, {}).get("images", ()))
        if not images:
            raise OrthoMergeError(
                "the workflow made no image", fix="Add Save Image, or name its node with --image."
            )
        return self._comfy.image(images[0])

    def _there(self, number: int) -> Any:
        """The image of a cell if this very recipe and workflow made it, else None."""
        from PIL import Image

        path = self._folder / f"{self._names[number]}.png"
        try:
            with Image.open(path) as image:
                image.load()
                texts = dict(getattr(image, "text", {}))
        except (OSError, ValueError):
            return None
        return image if self._about[number].items() <= texts.items() else None

    def _save(self, number: int, data: bytes) -> None:
        import numpy as np
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        about = PngInfo()
        for key, text in self._about[number].items():
            about.add_text(key, text)
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._write(f"{self._names[number]}.png", pixels, about)

    def _write(self, name: str, pixels: Any, about: Any) -> None:
        from PIL import Image

        from ..io.temp import replace_file, write_failure

        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, format="PNG", pnginfo=about, compress_level=4)
        try:
            replace_file(self._folder / name, stored.getvalue())
        except OSError as error:
            raise write_failure(name, error) from None


def _name(number: int, cell: Cell, made: Grid) -> str:
    return f"{number + 1:03} {_UNSAFE.sub('_', cell.caption(made.axes))}"[:150].rstrip()


def _say(as_json: bool, value: dict[str, Any], lines: list[str]) -> None:
    if as_json:
        echo_json(value)
    for line in () if as_json else lines:
        click.echo(line)
