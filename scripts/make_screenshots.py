"""The README's pictures, taken from a real ComfyUI after a real run of "Analyze and propose".

    python scripts/make_screenshots.py

Writes docs/images/quickstart.png (the graph with three rows overruled, moved together so that all
of it can be read) and docs/images/table.png (the mixer after an edit). Same models, same seed, same
window: the pictures change only with the pack. Look at them before they are published.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if TYPE_CHECKING:
    from scripts.support.browser import Studio

IMAGES = env.ROOT / "docs" / "images"
WINDOW, CLOSE_UP = (1800, 1030), (1100, 1000)
# Nothing of ComfyUI itself, and no simplified drawing at this zoom.
SETTINGS = {
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "LiteGraph.Canvas.LowQualityRenderingZoomThreshold": 0.1,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
    "Comfy.NodeBadge.NodeIdBadgeMode": "None",
    "Comfy.NodeBadge.NodeLifeCycleBadgeMode": "None",
}
HIDE = """
  body :not(#graph-canvas, .dom-widget, .dom-widget *, [data-node-id], [data-node-id] *) {
    visibility: hidden !important;
    transition: none !important;
  }
  #graph-canvas, .dom-widget, [data-node-id] { visibility: visible; }
"""
PICTURES_LOADED = """() => LiteGraph.vueNodesMode || app.graph._nodes
  .filter(({ type }) => ["SaveImage", "PreviewImage"].includes(type))
  .every(({ imgs }) => imgs?.length && imgs.every((image) => image.complete))"""
# Node, by its title: place and size. What is not named here is folded, and notes are left out.
PLACES = {
    "Ortho Model Set": (0, 0, 380, 320),
    "Compatibility Fix": (0, 370, 380, 540),
    "Delta Gram Analyzer": (410, 0, 400, 540),
    "Delta Base Optimizer": (410, 590, 400, 620),
    "Ortho Merge Mixer": (840, 0, 880, 590),
    "Heatmaps": (840, 640, 440, 570),
    "Lineage": (1310, 640, 410, 230),
    "Ortho Merge Execute": (1750, 0, 400, 480),
    "KSampler": (1750, 530),
    "VAE Decode": (1750, 580),
    "Merge": (1750, 640, 400, 570),
    "Load CLIP": (1310, 930),
    "Prompt": (1310, 980),
    "Negative prompt": (1310, 1030),
    "EmptySD3LatentImage": (1310, 1080),
    "Load VAE": (1310, 1130),
}
ARRANGE = """(places) => {
  for (const group of [...app.graph._groups]) app.graph.remove(group);
  for (const node of [...app.graph._nodes]) {
    const [x, y, width, height] = places[node.title] ?? [];
    if (x === undefined) { app.graph.remove(node); continue; }
    node.pos = [x, y];
    if (height) node.setSize([width, height]);
    else node.collapse(true);
  }
}"""
SAY = """(text) => {
  const prompt = app.graph._nodes.find(({ title }) => title === "Prompt");
  prompt.widgets.find(({ name }) => name === "text").value = text;
}"""
OVERRULED = ("ink", "ink-fine", "star")
"""Switched off by the person, so that the picture shows what the two others do together."""
EDITS = {"photo": "0.6"}


def main() -> int:
    """Start ComfyUI, run the workflow, take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vue", action="store_true", help="draw with Vue nodes")
    parser.add_argument("--frontend", help="another release of ComfyUI's frontend")
    parser.add_argument("--output", type=Path, default=IMAGES, help="where the pictures go")
    options = parser.parse_args()
    env.in_venv(dev=True)
    with tempfile.TemporaryDirectory() as folder:
        _take(Path(folder), options)
    return 0


def _take(base: Path, options: argparse.Namespace) -> None:
    from scripts.support.browser import open_browser
    from scripts.support.comfy_host import ComfyHost
    from scripts.support.family import make_family

    make_family(base / "models")
    static = env.ensure_frontend(options.frontend) if options.frontend else None
    host = ComfyHost(env.ensure_comfyui(), base, frontend=static)
    chromium = env.ensure_chromium()
    with host.start():
        for size, scale, take in ((WINDOW, 1.0, _graph), (CLOSE_UP, 1.75, _table)):
            with (
                open_browser(chromium, *size, scale=scale) as browser,
                browser.page(host, vue=options.vue, **SETTINGS) as studio,
            ):
                take(studio, options.output)


def _graph(studio: Studio, folder: Path) -> None:
    _open(studio).graph()
    studio.page.evaluate(SAY, "a red circle")
    studio.run()
    for model in OVERRULED:
        studio.row(model).get_by_role("checkbox").uncheck()
    studio.settle()
    studio.run()
    studio.row("photo").wait_for()
    studio.row("ink").scroll_into_view_if_needed()
    studio.page.evaluate("app.canvas.deselectAll()")
    studio.page.wait_for_function(PICTURES_LOADED)
    studio.page.evaluate(ARRANGE, PLACES)
    _tidy(studio)
    studio.fit(top=24)
    studio.page.wait_for_load_state("networkidle")
    studio.settle()
    studio.screenshot(folder / "quickstart.png")


def _table(studio: Studio, folder: Path) -> None:
    _open(studio).load().run()
    for model, alpha in EDITS.items():
        studio.alpha(model).fill(alpha)
        studio.alpha(model).press("Enter")
    studio.show(width=900)
    _tidy(studio)
    studio.settle()
    studio.screenshot(folder / "table.png", studio.table, margin=0)


def _open(studio: Studio) -> Studio:
    """The page without the banner that praises the other renderer."""
    dismissed = "localStorage.setItem('vueNodesBannerDismissed', 'true')"
    studio.page.add_init_script(dismissed)
    return studio.open()


def _tidy(studio: Studio) -> None:
    """Only the graph, and nothing of it in focus."""
    studio.page.add_style_tag(content=HIDE)
    studio.page.mouse.move(0, 0)
    studio.page.evaluate("document.activeElement?.blur()")


if __name__ == "__main__":
    raise SystemExit(main())
