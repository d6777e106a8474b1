"""What a person meets around the table: themes, languages, sizes, other nodes, a quiet console."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from scripts.support.comfy_host import ComfyHost

from .page import WORKFLOW, Studio, browser_page

pytestmark = pytest.mark.browser

RENDERERS = pytest.mark.parametrize("vue", [False, True], ids=["canvas", "vue"])
LEAST_PX = 24
SET_TABLE = """(text) => {
  app.graph._nodes.find((n) => n.type === "OrthoMixer").widgets
    .find((w) => w.type === "ORTHOMERGE_TABLE").value = text;
}"""
# Older frontends look every custom node up at the registry, and their own policy forbids the call.
REGISTRY = ("Failed to load resource", "api.comfy.org", "ERR_NETWORK", "Network Error")
RUN_PLAIN = """async () => {
  const [image, preview] = ["EmptyImage", "PreviewImage"].map((type) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    return node;
  });
  image.connect(0, preview, 0);
  await app.queuePrompt(0);
}"""


@pytest.fixture(scope="module", params=[None, "1.58.1"], ids=["1.32.9", "1.58.1"])
def host(request: pytest.FixtureRequest, start_host: Callable[..., ComfyHost]) -> ComfyHost:
    return start_host(frontend=request.param)


def contrast(page, selector: str) -> float:
    """WCAG contrast of an element's text against the table's background."""
    return page.evaluate(
        """(selector) => {
          const paint = document.createElement("canvas").getContext("2d");
          const rgb = (color) => {
            paint.fillStyle = color;
            paint.fillRect(0, 0, 1, 1);
            return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const light = (color) => rgb(color).map((c) => c / 255)
            .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
          const view = document.querySelector(".om-table-view");
          const text = light(getComputedStyle(view.querySelector(selector)).color);
          const ground = light(getComputedStyle(view).backgroundColor);
          return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
        }""",
        selector,
    )


@RENDERERS
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_is_readable_and_targets_are_large(host, chromium, vue, theme, request):
    with browser_page(chromium, host, vue=vue, theme=theme) as page:
        studio = Studio(page, host).open().load()
        studio.run()
        studio.row("photo").wait_for()
        studio.cell("photo", "Repeat").select_option("2")
        for selector in (
            ".om-choice-text",
            ".om-info",
            ".om-sum",
            ".om-formula",
            ".om-change",
            "th",
        ):
            assert contrast(page, selector) >= 4.5, selector
        sizes = studio.table.locator("button, input, select, summary").evaluate_all(
            "(all) => all.map((e) => [e.getAttribute('aria-label') ?? e.textContent,"
            " e.offsetWidth, e.offsetHeight])"
        )
        assert sizes
        assert [s for s in sizes if s[1] < LEAST_PX or s[2] < LEAST_PX] == []
        studio.screenshot(f"look-{theme}-{request.node.callspec.id}")


@RENDERERS
def test_twelve_rows_stay_usable_in_a_narrow_node(host, chromium, vue, request):
    rows = [{"model": f"m{i}", "alpha": i / 4, "touched": ["alpha"]} for i in range(12)]
    with browser_page(chromium, host, vue=vue) as page:
        studio = Studio(page, host).open().load()
        page.evaluate(SET_TABLE, json.dumps({"version": 1, "rows": rows}))
        page.evaluate("document.querySelector('.om-table-view').style.maxWidth = '400px'")
        assert studio.rows().count() == 12
        overflow = studio.table.locator(".om-scroll").evaluate(
            "(e) => e.scrollWidth - e.clientWidth"
        )
        assert overflow <= 0
        last = studio.cell("m11", "Alpha").and_(page.get_by_role("spinbutton"))
        last.scroll_into_view_if_needed()
        last.fill("0")
        last.press("Enter")
        assert json.loads(studio.sent_table())["rows"][11]["alpha"] == 0
        studio.screenshot(f"look-narrow-{request.node.callspec.id}")


@pytest.mark.parametrize(
    ("setting", "language", "word"),
    [("Comfy.Locale", "zh", "添加行"), ("OrthoMerge.Language", "de", "Zeile")],
)
def test_other_languages(host, chromium, setting, language, word):
    with browser_page(chromium, host, vue=False, **{setting: language}) as page:
        studio = Studio(page, host).open().load()
        assert studio.table.get_by_role("button", name=word, exact=True).is_visible()


@RENDERERS
def test_models_are_picked_from_a_list(host, chromium, vue):
    with browser_page(chromium, host, vue=vue) as page:
        Studio(page, host).open()
        page.evaluate("(w) => app.loadGraphData(w)", WORKFLOW)
        page.wait_for_function("app.graph._nodes.length > 5")
        page.evaluate(
            """() => {
              const node = app.graph._nodes.find((n) => n.type === "OrthoModelSet");
              app.canvas.ds.offset = [200 - node.pos[0], 200 - node.pos[1]];
              app.canvas.setDirty(true, true);
            }"""
        )
        view = page.locator(".om-models-view")
        view.get_by_role("button", name="Remove: orthomerge_demo/photo.safetensors").click()
        view.get_by_role("button", name="Choose models").click()
        box = page.locator(".om-picker input")
        box.fill("photo")
        box.press("Enter")
        page.keyboard.press("Escape")
        prompt = page.evaluate("app.graphToPrompt().then((p) => p.output)")
        sent = next(n["inputs"] for n in prompt.values() if n["class_type"] == "OrthoModelSet")
        assert sent["models"].split("\n")[-1] == "orthomerge_demo/photo.safetensors"
        assert len(sent["models"].split("\n")) == 5


@RENDERERS
def test_every_node_tells_its_result(host, chromium, vue, request):
    with browser_page(chromium, host, vue=vue) as page:
        studio = Studio(page, host).open()
        page.evaluate("(w) => app.loadGraphData(w)", WORKFLOW)
        page.wait_for_function("app.graph._nodes.length > 5")
        page.evaluate("app.canvas.ds.scale = 0.55; app.canvas.ds.offset = [40, 120];")
        page.evaluate("app.canvas.setDirty(true, true)")
        table = {"rows": [{"model": "ink", "alpha": 0.37 if vue else 0.41}]}
        page.evaluate(SET_TABLE, json.dumps(table))  # a merge that no other test has left cached
        studio.run()
        for words in ("Content hash", "Verdict"):
            page.locator(".om-face", has_text=words).first.wait_for(state="attached")
        studio.screenshot(f"faces-{request.node.callspec.id}")


@RENDERERS
def test_the_console_stays_as_quiet_as_without_the_pack(host, start_host, chromium, vue, request):
    frontend = request.node.callspec.params["host"]
    bare = _bare(start_host, frontend)
    with browser_page(chromium, bare, vue=vue) as page:
        plain = Studio(page, bare).open(node="KSampler")
        page.evaluate(RUN_PLAIN)
        page.wait_for_timeout(3000)
        known = {_kind(text) for text in plain.console}
    with browser_page(chromium, host, vue=vue) as page:
        studio = Studio(page, host).open().load()
        studio.run()
        studio.row("photo").wait_for()
        studio.cell("photo", "Repeat").select_option("2")
        page.wait_for_timeout(500)
        fresh = [text for text in studio.console if _kind(text) not in known]
    assert fresh == []


_BARE: dict[str | None, ComfyHost] = {}


def _bare(start_host: Callable[..., ComfyHost], frontend: str | None) -> ComfyHost:
    if frontend not in _BARE:
        _BARE[frontend] = start_host(frontend=frontend, with_pack=False)
    return _BARE[frontend]


def _kind(text: str) -> str:
    """The message without what names a node or a file: the frontend asks its registry for both."""
    for known in REGISTRY:
        if known in text:
            return REGISTRY[0]
    return re.sub(r"[0-9a-f:.-]{4,}", "", text.splitlines()[0])
