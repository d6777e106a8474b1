"""Writes `example_workflows/<name>.jpg`: each workflow after a run, as a real browser shows it.

    python scripts/make_thumbnails.py           all workflows
    python scripts/make_thumbnails.py slerp     only these

A real ComfyUI with the demo's family, headless Chromium, the dark theme. Look at the results.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=True)

from PIL import Image

from scripts.support.browser import Studio, open_browser, workflow
from scripts.support.comfy_host import ComfyHost
from scripts.support.family import make_family

WORKFLOWS = env.ROOT / "example_workflows"
SIZE_PX, MAX_BYTES = (640, 400), 60_000
PAGE_PX = (1920, 1200)  # of the same shape as the picture
SETTINGS = {
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "LiteGraph.Canvas.LowQualityRenderingZoomThreshold": 0.1,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
}
# Nothing but the graph: bars, tabs and messages of the page go.
ALONE = """
  body * { visibility: hidden !important; transition: none !important; }
  #graph-canvas, .dom-widget, .dom-widget * { visibility: visible !important; }
"""
NO_BANNER = "localStorage.setItem('vueNodesBannerDismissed', 'true')"


def main() -> None:
    """Start a host and a browser, and take every picture."""
    names = sys.argv[1:] or sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    with tempfile.TemporaryDirectory() as place:
        make_family(Path(place) / "models")
        width, height = PAGE_PX
        host = ComfyHost(env.ensure_comfyui(), Path(place)).start()
        with host, open_browser(env.ensure_chromium(), width=width, height=height) as browser:
            for name in names:
                with browser.page(host, **SETTINGS) as studio:
                    size = _save(_picture(studio, name), WORKFLOWS / f"{name}.jpg")
                env.say(f"{name}: {size} bytes")


def _picture(studio: Studio, name: str) -> bytes:
    """A screenshot of one workflow that ran to its end."""
    studio.page.add_init_script(NO_BANNER)
    studio.open().graph(workflow(name)).run()
    studio.page.add_style_tag(content=ALONE)
    studio.page.mouse.move(0, 0)
    studio.fit(top=24)
    studio.page.wait_for_load_state("networkidle")
    studio.settle()
    return studio.page.screenshot()


def _save(png: bytes, path: Path) -> int:
    """The best quality that stays below `MAX_BYTES`; the file's size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").resize(SIZE_PX, Image.Resampling.LANCZOS)
    body = io.BytesIO()
    for quality in range(90, 20, -4):
        body = io.BytesIO()
        picture.save(body, "JPEG", quality=quality, optimize=True, progressive=True)
        if body.tell() < MAX_BYTES:
            break
    path.write_bytes(body.getvalue())
    return body.tell()


if __name__ == "__main__":
    main()
