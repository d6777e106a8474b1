"""The demo's second graph: every model of the family and the merge, side by side, by KSampler."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["GRID_OUTPUT", "MERGES", "PROMPTS", "add_grid", "with_labels"]

PROMPTS = ("a red circle", "a green square", "a red star")
MERGES = ("paint + photo", "proposal", "orthomerge")
"""Two models; the optimizer's unedited proposal; the same rows by `orthomerge`."""
PAIR = ("paint", "photo")
GRID_OUTPUT = "grid"


def add_grid(graph: dict[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """The graph of the proposal with a grid behind it: a column per model, then one per merge.

    Rows and columns are joined by ComfyUI's own ImageStitch; the picture is the output of the node
    `GRID_OUTPUT`. Models come from OrthoPickModel, merges from OrthoMergeExecute.
    """
    node = {str(entry["class_type"]): name for name, entry in graph.items()}
    sampler = graph[node["KSampler"]]["inputs"]
    grown = dict(graph)
    for number, prompt in enumerate(PROMPTS):
        clip = [node["CLIPLoader"], 0]
        grown[f"prompt{number}"] = _node("CLIPTextEncode", text=prompt, clip=clip)
    columns: dict[str, list[Any]] = {}
    for name in models:
        picked = _node("OrthoPickModel", models=[node["CompatibilityFix"], 0], name=name)
        grown[f"model-{name}"], columns[name] = picked, [f"model-{name}", 0]
    mixed = graph[node["OrthoMixer"]]["inputs"]
    two = [{"model": name, "enabled": name in PAIR, "touched": ["enabled"]} for name in models[1:]]
    edits = (
        {"table": json.dumps({"version": 1, "rows": two})},
        {},
        {"method": "orthomerge"},
    )
    for name, edit in zip(MERGES, edits, strict=True):
        grown[f"mixer-{name}"] = _node("OrthoMixer", **(mixed | edit))
        grown[f"execute-{name}"] = _node("OrthoMergeExecute", recipe=[f"mixer-{name}", 0])
        columns[name] = [f"execute-{name}", 0]
    vae = [node["VAELoader"], 0]
    rows = [_row(grown, number, columns, sampler, vae) for number in range(len(PROMPTS))]
    whole = _stitch(grown, rows, "down", "rows")
    grown[GRID_OUTPUT] = _node("SaveImage", images=whole, filename_prefix="OrthoMerge/grid")
    return grown


def with_labels(picture: bytes, rows: Sequence[str], columns: Sequence[str]) -> bytes:
    """The PNG with the rows' names at the left and the columns' on top."""
    from PIL import Image, ImageDraw, ImageFont

    grid = Image.open(io.BytesIO(picture)).convert("RGB")
    left, top = 230, 48
    sheet = Image.new("RGB", (grid.width + left, grid.height + top), "white")
    sheet.paste(grid, (left, top))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(30)
    for number, name in enumerate(rows):
        middle = top + (number + 0.5) * grid.height / len(rows)
        draw.text((left - 16, middle), name, fill="black", font=font, anchor="rm")
    for number, name in enumerate(columns):
        middle = left + (number + 0.5) * grid.width / len(columns)
        draw.text((middle, top / 2), name, fill="black", font=font, anchor="mm")
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def _row(
    graph: dict[str, Any],
    number: int,
    columns: Mapping[str, list[Any]],
    sampler: dict[str, Any],
    vae: list[Any],
) -> list[Any]:
    """One prompt by every model, from left to right, with one seed."""
    pictures = []
    for name, model in columns.items():
        place = f"{name}-{number}"
        settings = sampler | {
            "model": model,
            "positive": [f"prompt{number}", 0],
            "seed": sampler["seed"] + number,
        }
        graph[f"sample-{place}"] = _node("KSampler", **settings)
        graph[f"decode-{place}"] = _node("VAEDecode", samples=[f"sample-{place}", 0], vae=vae)
        pictures.append([f"decode-{place}", 0])
    return _stitch(graph, pictures, "right", f"row-{number}")


def _stitch(
    graph: dict[str, Any], pictures: Sequence[list[Any]], direction: str, name: str
) -> list[Any]:
    joined = pictures[0]
    for number, picture in enumerate(pictures[1:]):
        graph[f"{name}-{number}"] = _node(
            "ImageStitch",
            image1=joined,
            image2=picture,
            direction=direction,
            match_image_size=False,
            spacing_width=4,
            spacing_color="black",
        )
        joined = [f"{name}-{number}", 0]
    return joined


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
