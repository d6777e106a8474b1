"""The page as a person sees it: small verbs over Playwright, no waiting by the clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

from scripts.support.comfy_host import ComfyHost

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts"
WORKFLOW = json.loads((ROOT / "example_workflows/quickstart.json").read_text(encoding="utf-8"))
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_READY = (
    "!!(window.app && window.app.graph && window.LiteGraph?.registered_node_types[{node!r}]"
    " && document.readyState === 'complete')"
)
_MIXER = "app.graph._nodes.find((n) => n.type === 'OrthoMixer')"


class Studio:
    """One open page with the quickstart in it."""

    def __init__(self, page: Page, host: ComfyHost) -> None:
        self.page, self.host = page, host
        self.console: list[str] = []
        page.on("console", lambda m: self.console.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))

    def open(self, node: str = "OrthoMixer") -> Studio:
        """Load the page and wait until a node type is known."""
        self.page.goto(self.host.url)
        self.page.wait_for_function(_READY.format(node=node), timeout=60_000)
        return self

    def load(self, workflow: dict[str, Any] = WORKFLOW) -> Studio:
        """Load a workflow and bring the mixer into view at 100 %."""
        self.page.evaluate("(w) => app.loadGraphData(w)", workflow)
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
              app.canvas.ds.scale = 1;
              app.canvas.ds.offset = [160 - mixer.pos[0], 130 - mixer.pos[1]];
              app.canvas.setDirty(true, true);
            }}""",
            width,
        )
        self.table.wait_for()

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

    def models(self) -> list[str]:
        """The models shown, top to bottom."""
        return self.rows().locator(".om-c-model .om-choice-text").all_inner_texts()

    def value(self) -> str:
        """The string that the node keeps."""
        return str(
            self.page.evaluate(
                f"(() => {{ const n = {_MIXER}; const i = n.widgets.findIndex("
                "(w) => w.type === 'ORTHOMERGE_TABLE'); return n.widgets[i].value; })()"
            )
        )

    def sent_table(self) -> str:
        """The table in the prompt that ComfyUI would send."""
        prompt = self.page.evaluate("app.graphToPrompt().then((p) => p.output)")
        return next(
            n["inputs"]["table"] for n in prompt.values() if n["class_type"] == "OrthoMixer"
        )

    def run(self) -> str:
        """Queue the graph as the run button does; the prompt's id, once it is done."""
        with self.page.expect_response(lambda r: r.url.endswith("/prompt")) as answer:
            self.page.evaluate("app.queuePrompt(0)")
        prompt_id = str(answer.value.json()["prompt_id"])
        self.host.result(prompt_id)
        return prompt_id

    def wait_for_value(self, text: str) -> None:
        """Wait until the node keeps this string."""
        table = f"{_MIXER}?.widgets.find((w) => w.type === 'ORTHOMERGE_TABLE')"
        self.page.wait_for_function(f"(text) => {table}?.value === text", arg=text)

    def screenshot(self, name: str) -> None:
        """Keep a picture for people."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")


@contextmanager
def browser_page(
    chromium: str, host: ComfyHost, *, vue: bool, theme: str = "dark", **settings: object
) -> Iterator[Page]:
    """A fresh page with the settings of one test."""
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
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        page.set_default_timeout(15_000)
        yield page
        browser.close()


def _exactly(text: str) -> Any:
    import re

    return re.compile(f"^{re.escape(text)}$")
