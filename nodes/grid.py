"""OrthoGrid: one recipe becomes many, along one to three axes."""

from __future__ import annotations

import uuid
from dataclasses import replace

from comfy_api.latest import io

from ..orthomerge_core.grid.cells import make_grid
from . import host
from .widgets import schema, ui_payload
from .wire import GridSocket, GridWire, RecipeSocket, RecipeWire

__all__ = ["OrthoGrid"]


class OrthoGrid(io.ComfyNode):
    """ComfyUI runs what follows once per recipe; neighbors share as much work as they can."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A recipe and up to three axes."""

        def axis(name: str, default: str, tooltip: str) -> io.String.Input:
            return io.String.Input(name, default=default, optional=True, tooltip=tooltip)

        return schema(
            "OrthoGrid",
            display_name="Ortho Merge Grid",
            searchable_name="Ortho Merge Grid (XYZ plot)",
            description="Makes one recipe per combination of values, for a picture with labels.",
            search_aliases=["xyz plot", "xy plot", "merge grid", "compare merges", "sweep"],
            inputs=[
                RecipeSocket.Input("recipe", tooltip="The recipe that the axes change."),
                axis(
                    "columns",
                    "alpha = 0, 0.5, 1",
                    "The horizontal axis, as target = values, "
                    "e.g. alpha = 0, 0.5, 1 or ink.alpha = 0..1/5 or method = each.",
                ),
                axis("rows", "", "The vertical axis, or empty."),
                axis("pages", "", "A third axis, or empty."),
            ],
            outputs=[
                RecipeSocket.Output(
                    display_name="recipes", tooltip="One per cell.", is_output_list=True
                ),
                GridSocket.Output(display_name="grid", tooltip="For the grid picture."),
                io.String.Output(
                    display_name="labels", tooltip="One per cell.", is_output_list=True
                ),
            ],
        )

    @classmethod
    @host.guarded
    def execute(
        cls,
        recipe: RecipeWire,
        columns: str = "alpha = 0, 0.5, 1",
        rows: str = "",
        pages: str = "",
    ) -> io.NodeOutput:
        """Expand the axes; nothing is merged here."""
        grid = make_grid(recipe.recipe, [columns, rows, pages])
        group = uuid.uuid4().hex
        recipes = [
            replace(
                recipe,
                recipe=cell.setting.recipe,
                content_hash=None,
                group=group,
                cell=number,
            )
            for number, cell in enumerate(grid.cells)
        ]
        labels = [cell.caption(grid.axes) for cell in grid.cells]
        text = f"{len(grid.cells)} merges: {' × '.join(f'{len(a)} {a.name}' for a in grid.axes)}"
        payload = {"kind": "grid_axes", "text": text, "labels": labels}
        return io.NodeOutput(recipes, GridWire(grid, group), labels, ui=ui_payload(payload))
