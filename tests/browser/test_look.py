"""What a person meets around the table: themes, languages, sizes, other nodes, a quiet console."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.support.browser import MODELS
from scripts.support.comfy_host import ComfyHost

pytestmark = pytest.mark.browser

LEAST_PX = 24
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


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_is_readable_and_targets_are_large(host, browser, vue, theme, picture):
    with browser.page(host, vue=vue, theme=theme) as studio:
        studio.open().load().run()
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
            assert contrast(studio.page, selector) >= 4.5, selector
        sizes = studio.table.locator("button, input, select, summary").evaluate_all(
            "(all) => all.map((e) => [e.getAttribute('aria-label') ?? e.textContent,"
            " e.offsetWidth, e.offsetHeight])"
        )
        assert sizes
        assert [s for s in sizes if s[1] < LEAST_PX or s[2] < LEAST_PX] == []
        studio.screenshot(picture("look"))


def test_twelve_rows_stay_usable_in_a_narrow_node(studio, picture):
    rows = [{"model": f"m{i}", "alpha": i / 4, "touched": ["alpha"]} for i in range(12)]
    studio.set_value(json.dumps({"version": 1, "rows": rows}))
    studio.page.evaluate("document.querySelector('.om-table-view').style.maxWidth = '400px'")
    assert studio.rows().count() == 12
    overflow = studio.table.locator(".om-scroll").evaluate("(e) => e.scrollWidth - e.clientWidth")
    assert overflow <= 0
    last = studio.alpha("m11")
    last.scroll_into_view_if_needed()
    last.fill("0")
    last.press("Enter")
    assert json.loads(studio.sent_table())["rows"][11]["alpha"] == 0
    studio.screenshot(picture("look-narrow"))


@pytest.mark.parametrize(
    ("setting", "language", "word"),
    [("Comfy.Locale", "zh", "添加行"), ("OrthoMerge.Language", "de", "Zeile")],
)
def test_other_languages(host, browser, setting, language, word):
    with browser.page(host, **{setting: language}) as studio:
        studio.open().load()
        assert studio.table.get_by_role("button", name=word, exact=True).is_visible()


def test_models_are_picked_from_a_list(page, picture):
    page.graph().look_at("OrthoModelSet")
    view = page.page.locator(".om-models-view")
    view.evaluate("(e) => { e.style.maxWidth = '290px'; }")
    name = view.locator(".om-chosen-name span", has_text="photo.safetensors").last
    assert name.evaluate("(e) => e.scrollWidth <= e.clientWidth && e.clientWidth > 40")
    view.get_by_role("button", name="Remove: orthomerge_demo/photo.safetensors").click()
    page.screenshot(picture("models"))
    view.get_by_role("button", name="Choose models").click()
    box = page.page.locator(".om-picker input")
    box.fill("photo")
    box.press("Enter")
    page.page.keyboard.press("Escape")
    chosen = page.sent("OrthoModelSet")["models"].split("\n")
    assert chosen[-1] == "orthomerge_demo/photo.safetensors"
    assert sorted(Path(name).stem for name in chosen) == sorted(MODELS)


def test_every_node_tells_its_result(page, vue, picture):
    page.graph().fit()
    table = {"rows": [{"model": "ink", "alpha": 0.37 if vue else 0.41}]}
    page.set_value(json.dumps(table))  # a merge that no other test has left cached
    page.run()
    for words in ("Content hash", "Verdict"):
        page.page.locator(".om-face", has_text=words).first.wait_for(state="attached")
    page.screenshot(picture("faces"))


def test_the_console_stays_as_quiet_as_without_the_pack(bare, host, browser, vue):
    with browser.page(bare, vue=vue) as plain:
        plain.open(node="KSampler")
        plain.page.evaluate(RUN_PLAIN)
        plain.page.wait_for_timeout(3000)
        known = {_kind(text) for text in plain.console}
    with browser.page(host, vue=vue) as studio:
        studio.open().load().run()
        studio.row("photo").wait_for()
        studio.cell("photo", "Repeat").select_option("2")
        studio.page.wait_for_timeout(500)
        fresh = [text for text in studio.console if _kind(text) not in known]
    assert fresh == []


@pytest.fixture(scope="package")
def bare(frontend: str | None, start_host: Callable[..., ComfyHost]) -> Iterator[ComfyHost]:
    """The same ComfyUI without the pack."""
    started = start_host(frontend=frontend, with_pack=False)
    yield started
    started.stop()


def _kind(text: str) -> str:
    """The message without what names a node or a file: the frontend asks its registry for both."""
    for known in REGISTRY:
        if known in text:
            return REGISTRY[0]
    return re.sub(r"[0-9a-f:.-]{4,}", "", text.splitlines()[0])
