"""ComfyUI's page as a person sees it: small verbs over Playwright, no waiting by the clock.

One Chromium serves many pages: they share its cache, so that only the first one loads slowly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, sync_playwright

from .comfy_host import ComfyHost
from .env import ROOT
from .examples import file_name

__all__ = ["MODELS", "WORKFLOW", "Browser", "Studio", "open_browser", "workflow"]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Generous, since nothing waits that long unless the machine is very busy.
TIMEOUT_MS = 60_000
_READY = (
    "!!(window.app && window.app.graph && window.LiteGraph?.registered_node_types[{node!r}]"
    " && document.readyState === 'complete')"
)
_NODE = "app.graph._nodes.find((n) => n.type === {kind!r})"
_MIXER = _NODE.format(kind="OrthoMixer")
_TABLE = f"{_MIXER}.widgets.find((w) => w.type === 'ORTHOMERGE_TABLE')"
_HAS_VALUE = f"(text) => {_TABLE.replace('.widgets', '?.widgets')}?.value === text"
_LISTEN = """() => {
  window.orthomergeDone ??= new Set();
  const api = app.api ?? window.comfyAPI.api.api;
  for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
    api.addEventListener(end, ({ detail }) => window.orthomergeDone.add(detail.prompt_id));
  }
}"""
# Results of earlier pages are kept in the browser; a page opened anew starts without them.
_FORGET = """() => {
  if (sessionStorage.getItem("orthomerge.fresh")) return;
  sessionStorage.setItem("orthomerge.fresh", "1");
  Object.keys(localStorage).filter((key) => key.startsWith("orthomerge."))
    .forEach((key) => localStorage.removeItem(key));
}"""
_SETTLED = """() => new Promise((done) => {
  const look = () => {
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    if (tracker?._restoringState) requestAnimationFrame(look);
    else requestAnimationFrame(() => requestAnimationFrame(done));
  };
  look();
})"""


def workflow(name: str) -> dict[str, Any]:
    """A shipped workflow, by the name of its API prompt."""
    path = ROOT / "example_workflows" / f"{file_name(name)}.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def chosen_models(graph: dict[str, Any]) -> list[str]:
    """The models that a workflow chooses, by the names its table gives them."""
    chooser = next(node for node in graph["nodes"] if node["type"] == "OrthoModelSet")
    return [Path(name).stem for name in chooser["widgets_values"][1].splitlines()]


WORKFLOW = workflow("proposal")
MODELS = chosen_models(WORKFLOW)


class Browser:
    """One Chromium; see `open_browser`."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context

    @contextmanager
    def page(
        self, host: ComfyHost, *, vue: bool = False, theme: str = "dark", **settings: object
    ) -> Iterator[Studio]:
        """A fresh page, not loaded yet, with ComfyUI's settings as wanted."""
        host.post(
            "/settings",
            {
                "Comfy.VueNodes.Enabled": vue,
                "Comfy.TutorialCompleted": True,
                "Comfy.Workflow.Persist": False,
                "Comfy.ColorPalette": theme,
                "Comfy.Locale": "en",
                "OrthoMerge.Language": "auto",
                **settings,
            },
        )
        page = self.context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.add_init_script(f"({_FORGET})()")
        try:
            yield Studio(page, host)
        finally:
            page.close()


@contextmanager
def open_browser(
    chromium: str, width: int = 1400, height: int = 1200, *, scale: float = 1.0
) -> Iterator[Browser]:
    """Start Chromium. `scale` draws everything that many times finer."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale
        )
        yield Browser(context)
        browser.close()


class Studio:
    """One open page with a workflow in it."""

    def __init__(self, page: Page, host: ComfyHost) -> None:
        self.page, self.host = page, host
        self.console: list[str] = []
        page.on("console", lambda m: self.console.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))

    def open(self, node: str = "OrthoMixer") -> Studio:
        """Load the page and wait until a node type is known."""
        self.page.goto(self.host.url)
        self.page.wait_for_function(_READY.format(node=node))
        return self

    def graph(self, graph: dict[str, Any] = WORKFLOW) -> Studio:
        """Load a workflow as it is."""
        self.page.evaluate("(w) => app.loadGraphData(w)", graph)
        self.page.wait_for_function(
            "(count) => app.graph._nodes.length === count", arg=len(graph["nodes"])
        )
        return self

    def load(self, graph: dict[str, Any] = WORKFLOW) -> Studio:
        """Load a workflow and bring the mixer into view at 100 %."""
        self.graph(graph)
        self.show()
        return self

    def show(self, width: int = 700) -> None:
        """The mixer alone in the middle of the page, at 100 %."""
        self.page.wait_for_function(f"!!{_MIXER}?.widgets?.length")
        self.page.evaluate(
            f"""(width) => {{
              const mixer = {_MIXER};
              mixer.setSize([width, mixer.size[1]]);
              for (const node of app.graph._nodes) {{
                if (node === mixer || node.pos[0] > 6000) continue;
                node.pos = [node.pos[0] + 8000, node.pos[1]];
              }}
            }}""",
            width,
        )
        self.look_at("OrthoMixer")
        self.table.wait_for()

    def look_at(self, kind: str) -> None:
        """The first node of a kind in view at 100 %."""
        self.page.evaluate(
            f"""() => {{
              const node = {_NODE.format(kind=kind)};
              app.canvas.ds.scale = 1;
              app.canvas.ds.offset = [160 - node.pos[0], 130 - node.pos[1]];
              app.canvas.setDirty(true, true);
            }}"""
        )

    def fit(self, margin: float = 24.0, top: float = 60.0) -> None:
        """The whole graph in view."""
        self.page.evaluate(
            """([margin, top]) => {
              const boxes = [...app.graph._nodes, ...app.graph._groups]
                .map(({ pos, size, title_height }) => [...pos, ...size, title_height]);
              const low = [0, 1].map((k) => Math.min(...boxes.map((b) => b[k])));
              const high = [0, 1].map((k) => Math.max(...boxes.map((b) => b[k] + b[k + 2])));
              low[1] -= 34;
              const room = [window.innerWidth - 2 * margin, window.innerHeight - margin - top];
              const scale = Math.min(...[0, 1].map((k) => room[k] / (high[k] - low[k])), 1.5);
              const ds = app.canvas.ds;
              ds.scale = scale;
              ds.offset = [0, 1].map((k) => ((k ? top : margin)
                + (room[k] - (high[k] - low[k]) * scale) / 2) / scale - low[k]);
              app.canvas.setDirty(true, true);
            }""",
            [margin, top],
        )

    @property
    def table(self) -> Locator:
        """The mixer's table."""
        return self.page.locator(".om-table-view").first

    def rows(self) -> Locator:
        """Its rows."""
        return self.table.locator("tbody tr.om-row")

    def row(self, model: str) -> Locator:
        """The first row of a model."""
        named = self.page.locator(".om-c-model .om-choice-text", has_text=_exactly(model))
        return self.rows().filter(has=named).first

    def cell(self, model: str, label: str) -> Locator:
        """A control of a row by its spoken name."""
        return self.row(model).get_by_label(f"{model}: {label}", exact=True)

    def alpha(self, model: str) -> Locator:
        """The typed number of a row."""
        return self.cell(model, "Alpha").and_(self.page.get_by_role("spinbutton"))

    def models(self) -> list[str]:
        """The models shown, top to bottom."""
        return self.rows().locator(".om-c-model .om-choice-text").all_inner_texts()

    def value(self) -> str:
        """The string that the node keeps."""
        return str(self.page.evaluate(f"{_TABLE}.value"))

    def set_value(self, text: str | None) -> None:
        """What a loaded workflow would bring."""
        self.page.evaluate(f"(text) => {{ ({_TABLE}).value = text; }}", text)

    def sent(self, kind: str = "OrthoMixer") -> dict[str, Any]:
        """The inputs of a node in the prompt that ComfyUI would send."""
        prompt = self.page.evaluate("app.graphToPrompt().then((p) => p.output)")
        return next(dict(n["inputs"]) for n in prompt.values() if n["class_type"] == kind)

    def sent_table(self) -> str:
        """The table in the prompt that ComfyUI would send."""
        return str(self.sent()["table"])

    def queue(self) -> str:
        """Queue the graph as the run button does; the prompt's id."""
        with self.page.expect_response(lambda r: r.url.endswith("/prompt")) as answer:
            self.page.evaluate("app.queuePrompt(0)")
        return str(answer.value.json()["prompt_id"])

    def run(self) -> str:
        """Queue the graph and wait until server and page are done with it; the prompt's id."""
        self.page.evaluate(_LISTEN)
        prompt_id = self.queue()
        self.host.result(prompt_id)
        self.page.wait_for_function("(id) => window.orthomergeDone.has(id)", arg=prompt_id)
        self.settle()
        return prompt_id

    def settle(self) -> None:
        """Wait until undo or redo is over and everything is drawn."""
        self.page.evaluate(_SETTLED)

    def wait_for_value(self, text: str) -> None:
        """Wait until the node keeps this string."""
        self.page.wait_for_function(_HAS_VALUE, arg=text)
        self.settle()

    def screenshot(self, path: Path, clip: Locator | None = None, margin: int = 12) -> None:
        """A picture of the page, or of the part around an element."""
        path.parent.mkdir(parents=True, exist_ok=True)
        box = clip.bounding_box() if clip else None
        if box is None:
            self.page.screenshot(path=path)
            return
        area = {
            "x": box["x"] - margin,
            "y": box["y"] - margin,
            "width": box["width"] + 2 * margin,
            "height": box["height"] + 2 * margin,
        }
        self.page.screenshot(path=path, clip=area)  # type: ignore[arg-type]


def _exactly(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}$")
