"""Writes `example_workflows/<title>.jpg`: the pictures that each workflow makes.

    python scripts/make_thumbnails.py           all workflows
    python scripts/make_thumbnails.py slerp     only these

A real ComfyUI runs every API prompt with the demo's family. Look at the results.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=True)

from PIL import Image, ImageDraw, ImageFont

from scripts.support.comfy_host import ComfyHost
from scripts.support.examples import EXAMPLES, file_name
from scripts.support.family import make_family

WORKFLOWS = env.ROOT / "example_workflows"
README_GRID = env.ROOT / "docs" / "images" / "merge_grid.png"
SIZE_PX, MAX_BYTES = (640, 400), 60_000
GROUND, INK = (27, 28, 33), (232, 232, 236)
LABEL_PX, GAP_PX, MOST = 34, 16, 3
KINDS = ("SaveImage", "PreviewImage")  # results first
OWN_KINDS = {"grid": ("OrthoGridPicture",)}


def main() -> None:
    """Start a host, run what was asked for, and draw every picture."""
    names = sys.argv[1:] or [example.name for example in EXAMPLES]
    with tempfile.TemporaryDirectory() as place:
        make_family(Path(place) / "models")
        with ComfyHost(env.ensure_comfyui(), Path(place)).start() as host:
            for name in names:
                pictures = _pictures(host, name)
                sheet = _sheet(pictures)
                if name == "grid":  # the README's as well
                    pictures[0][1].save(README_GRID, optimize=True)
                env.say(f"{name}: {_save(sheet, WORKFLOWS / f'{file_name(name)}.jpg')} bytes")


def _pictures(host: ComfyHost, name: str) -> list[tuple[str, Image.Image]]:
    """Title and picture of the nodes that show one, the results first."""
    graph = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    outputs = host.prompt(graph, timeout_s=900)["outputs"]
    found = []
    for kind in OWN_KINDS.get(name, KINDS):
        for key, node in graph.items():
            if node["class_type"] != kind or not outputs.get(key, {}).get("images"):
                continue
            data = host.image(outputs[key]["images"][0])
            found.append((node["_meta"]["title"], Image.open(io.BytesIO(data)).convert("RGB")))
    return found[:MOST]


def _sheet(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """The pictures side by side with their titles below, as large as the sheet allows."""
    sheet = Image.new("RGB", SIZE_PX, GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    width = (SIZE_PX[0] - GAP_PX) // len(pictures) - GAP_PX
    height = SIZE_PX[1] - 2 * GAP_PX - LABEL_PX
    for number, (title, picture) in enumerate(pictures):
        scale = min(width / picture.width, height / picture.height)
        size = (round(picture.width * scale), round(picture.height * scale))
        middle = GAP_PX + width // 2 + number * (width + GAP_PX)
        top = GAP_PX + (height - size[1]) // 2
        shown = picture.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(shown, (middle - size[0] // 2, top))
        label = (middle, SIZE_PX[1] - GAP_PX - LABEL_PX / 2)
        draw.text(label, title, fill=INK, font=font, anchor="mm")
    return sheet


def _save(picture: Image.Image, path: Path) -> int:
    """The best quality that stays below `MAX_BYTES`; the file's size."""
    body = io.BytesIO()
    for quality in range(92, 20, -4):
        body = io.BytesIO()
        picture.save(body, "JPEG", quality=quality, optimize=True, progressive=True)
        if body.tell() < MAX_BYTES:
            break
    path.write_bytes(body.getvalue())
    return body.tell()


if __name__ == "__main__":
    main()
