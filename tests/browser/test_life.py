"""What a mixer lives through: copies, sub-graphs, old and broken values, failures, remedies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.browser import MODELS, Browser, Studio
from scripts.support.comfy_host import ComfyHost, PromptError
from scripts.support.env import ensure_axe

pytestmark = pytest.mark.browser

MIXERS = "app.graph._nodes.filter((n) => n.type === 'OrthoMixer')"
VALUES = f"{MIXERS}.map((n) => n.widgets.find((w) => w.name === 'table').value)"
COPY = f"""() => {{
  const [mixer] = {MIXERS};
  app.canvas.selectItems?.([mixer]);
  app.canvas.copyToClipboard([mixer]);
  app.canvas.pasteFromClipboard();
}}"""
INTO_SUBGRAPH = f"""() => {{
  const {{ subgraph }} = app.graph.convertToSubgraph(new Set([{MIXERS}[0]]));
  window.inner = subgraph;
}}"""
ENTER_SUBGRAPH = """() => {
  app.canvas.setGraph(window.inner);
  const mixer = window.inner._nodes.find((n) => n.type === "OrthoMixer");
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [160 - mixer.pos[0], 130 - mixer.pos[1]];
  app.canvas.setDirty(true, true);
}"""
SET_TEXTURE = f"""(name) => {{
  const widget = {MIXERS}[0].widgets.find((w) => w.name === "texture_model");
  widget.value = name;
}}"""
SHOWN = """(text) => [...document.querySelectorAll("[role=dialog], [role=alert]")]
  .filter((e) => !e.closest(".om, .sr-only") && e.checkVisibility())
  .filter((e) => e.textContent.includes(text)).length"""
WARN = f"""() => {{
  const [mixer] = {MIXERS};
  const row = (model, enabled) =>
    ({{ enabled, model, delta_from: "base", alpha: 1, repeat: 1, layers: "", info: "" }});
  const warning = {{
    text: "ink is made of photo.", suggestion: {{ action: "enable", models: ["photo", "paint"] }},
  }};
  mixer.onExecuted({{ orthomerge: [{{
    kind: "mix", names: ["ink", "photo", "paint"], warnings: [warning], forecast: null,
    proposal: [row("ink", true), row("photo", false), row("paint", false)],
  }}] }});
}}"""


def touched(alpha: float, **more: object) -> str:
    rows = [{"model": "ink", "alpha": alpha, "touched": ["alpha"]}]
    return json.dumps({"version": 1, "rows": rows, **more})


def test_a_copy_has_the_same_rows_and_a_life_of_its_own(studio: Studio):
    studio.run()
    studio.row("photo").wait_for()
    studio.alpha("photo").fill("0.5")
    studio.alpha("photo").press("Enter")
    studio.page.evaluate(COPY)
    studio.page.wait_for_function(f"{MIXERS}.length === 2")
    before = studio.value()
    assert studio.page.evaluate(VALUES) == [before, before]
    studio.row("ink").locator("label.om-check").click()
    after = studio.page.evaluate(VALUES)
    assert len(set(after)) == 2 and before in after


def test_a_mixer_in_a_subgraph_keeps_working(studio: Studio, picture: Callable[[str], Path]):
    studio.run()
    studio.row("photo").wait_for()
    studio.cell("photo", "Repeat").select_option("2")
    table = studio.sent_table()
    studio.page.evaluate(INTO_SUBGRAPH)
    assert studio.sent_table() == table
    studio.page.evaluate(ENTER_SUBGRAPH)
    studio.row("photo").wait_for()
    assert studio.models() == MODELS
    assert studio.cell("photo", "Repeat").input_value() == "2"
    studio.row("ink").locator("label.om-check").click()
    rows = {row["model"]: row for row in json.loads(studio.sent_table())["rows"]}
    assert rows["ink"]["enabled"] is False and rows["photo"]["repeat"] == 2
    studio.screenshot(picture("subgraph"))


@pytest.mark.parametrize(
    ("stored", "reason"),
    [("{", "not_json"), ("[]", "not_an_object"), ('{"version": 99}', "newer_version")],
)
def test_what_cannot_be_read_is_kept_until_one_starts_over(
    host: ComfyHost, browser: Browser, stored: str, reason: str
):
    with browser.page(host) as studio:
        studio.open().load().set_value(stored)
        assert reason in studio.table.get_by_role("alert").inner_text()
        assert studio.sent_table() == stored
        studio.table.get_by_role("button", name="Start over").click()
        assert studio.sent_table() == ""


def test_older_values_are_read(studio: Studio):
    studio.set_value(json.dumps({"rows": [{"model": "ink", "alpha": 0.25}]}))  # before `version`
    assert studio.models() == ["ink"]
    assert studio.alpha("ink").input_value() == "0.25"
    studio.set_value(None)
    assert studio.sent_table() == ""
    studio.set_value(touched(0.75, note="from a later release"))
    studio.alpha("ink").fill("0.5")
    studio.alpha("ink").press("Enter")
    sent = json.loads(studio.sent_table())
    assert (sent["note"], sent["rows"][0]["alpha"]) == ("from a later release", 0.5)


def test_a_failure_is_told_once_and_stays_at_its_node(
    studio: Studio, picture: Callable[[str], Path]
):
    studio.page.evaluate(SET_TEXTURE, "nobody")
    with pytest.raises(PromptError, match="nobody"):
        studio.run()
    said = 'texture_model "nobody" is not in the set. Valid: ink'
    studio.page.wait_for_function(f"(text) => ({SHOWN})(text) >= 1", arg=said)
    studio.page.wait_for_timeout(800)  # long enough for a second message, were there one
    assert studio.page.evaluate(SHOWN, said) == 1
    assert studio.table.locator(".om-error", has_text="nobody").is_visible()
    studio.screenshot(picture("failure"))


def test_the_texture_model_is_chosen_from_the_set(studio: Studio):
    studio.run()
    studio.row("photo").wait_for()
    studio.page.get_by_role("button", name="Texture model: none").click()
    studio.page.locator(".om-picker input").fill("pho")
    studio.page.keyboard.press("Enter")
    assert studio.sent()["texture_model"] == "photo"
    studio.page.get_by_role("button", name="Texture model: photo").click()
    studio.page.get_by_role("option", name="none").click()
    assert studio.sent()["texture_model"] == ""
    studio.page.evaluate(SET_TEXTURE, "nobody")
    assert studio.table.get_by_text("The texture model “nobody” is not in the set.").is_visible()


def test_a_warning_offers_its_remedy(studio: Studio):
    studio.page.evaluate(WARN)
    line = studio.table.locator(".om-warning", has_text="ink is made of photo.")
    line.get_by_role("button", name="Turn on photo, paint").click()
    sent = {row["model"]: row["enabled"] for row in json.loads(studio.sent_table())["rows"]}
    assert sent == {"photo": True, "paint": True}
    assert line.get_by_role("button").count() == 0


def test_layers_that_cannot_be_read_are_explained_in_the_row(studio: Studio):
    studio.run()
    studio.row("photo").wait_for()
    studio.cell("photo", "Layers").fill("blocks.9-1=0.5")
    studio.cell("photo", "Layers").press("Tab")
    assert studio.row("photo").get_by_text("The range “9-1” runs backwards.").is_visible()


def test_a_method_says_where_it_ends(studio: Studio):
    studio.run()
    studio.row("photo").wait_for()
    studio.page.evaluate(
        f"""() => {{
          const method = {MIXERS}[0].widgets.find((w) => w.name === "method");
          method.value = "slerp";
          method.callback("slerp");
        }}"""
    )
    assert studio.table.get_by_text("takes 1 row at most").is_visible()


def test_ties_chosen_anew_starts_with_the_papers_density_and_a_stored_mix_keeps_its_own(
    studio: Studio,
):
    studio.run()
    studio.row("photo").wait_for()
    choose = f"""(name) => {{
          const method = {MIXERS}[0].widgets.find((w) => w.name === "method");
          method.value = name;
          method.callback(name);
        }}"""
    studio.page.evaluate(choose, "ties")
    assert json.loads(studio.sent_table())["options"] == {"ties": {"density": 0.2}}
    density = studio.table.locator("[data-key='option:density']")
    if not density.is_visible():
        studio.table.locator(".om-options summary").click()
    assert density.input_value() == "0.2"
    density.fill("1")
    density.press("Tab")
    assert json.loads(studio.sent_table())["options"] == {"ties": {"density": 1}}
    studio.page.evaluate(choose, "average")
    studio.page.evaluate(choose, "ties")
    assert json.loads(studio.sent_table())["options"] == {"ties": {"density": 1}}
    # a workflow from before: the method without a word on its density
    saved = studio.page.evaluate("() => window.app.graph.serialize()")
    mixer = next(node for node in saved["nodes"] if node["type"] == "OrthoMixer")
    mixer["widgets_values"] = [
        "" if isinstance(value, str) and value.startswith("{") else value
        for value in mixer["widgets_values"]
    ]
    studio.open().load(saved)
    studio.run()
    studio.row("photo").wait_for()
    assert studio.sent_table() == ""


def test_axe_finds_nothing(host: ComfyHost, browser: Browser, vue: bool):
    with browser.page(host, vue=vue, theme="light" if vue else "dark") as studio:
        studio.open().load().run()
        studio.row("photo").wait_for()
        studio.cell("photo", "Repeat").select_option("2")
        studio.table.locator(".om-options summary").click()
        studio.page.evaluate(ensure_axe().read_text(encoding="utf-8"))
        assert found(studio, ".om-table-view") == []
        assert found(studio, ".om-models-view") == []
        assert found(studio, ".om-face") == []
        studio.row("photo").locator(".om-c-delta_from button").click()
        assert found(studio, ".om-panel") == []


def found(studio: Studio, part: str) -> list[str]:
    """Axe's findings in a part of the page, as `rule: element`."""
    if studio.page.locator(part).count() == 0:
        return [f"no {part}"]
    report = studio.page.evaluate("(part) => axe.run(part, { resultTypes: ['violations'] })", part)
    return [
        f"{item['id']} ({item['impact']}): {node['html'][:160]}"
        for item in report["violations"]
        for node in item["nodes"]
    ]
