"""Faults met once: long tables, stale results, copies, reloads, typed numbers, layers."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.browser import MODELS, Browser, Studio
from scripts.support.comfy_host import ComfyHost

pytestmark = pytest.mark.browser

MIXER = "app.graph._nodes.find((n) => n.type === 'OrthoMixer')"
ROOM = """() => {
  const view = document.querySelector(".om-table-view");
  const part = (name) => view.querySelector(name)?.offsetHeight ?? 0;
  return { view: view.offsetHeight, rows: part(".om-scroll"), footer: part(".om-footer") };
}"""
MANY = f"""(count) => {{
  const names = Array.from({{ length: count }}, (_, i) => `m${{String(i).padStart(3, "0")}}`);
  const plain = {{ delta_from: "base", alpha: 1, repeat: 1, layers: "" }};
  const info = (i) => (i % 3 ? "redundant to m000, cos 0.93" : "from the base");
  const row = (model, i) => ({{ ...plain, model, enabled: i % 3 === 0, info: info(i) }});
  const warnings = names.filter((_, i) => i % 3).map((model) => ({{
    kind: "redundant", models: [model, "m000"], suggestion: null,
    text: `${{model}} is off: redundant to m000, cos 0.93.` }}));
  const mix = {{ kind: "mix", names, proposal: names.map(row), warnings, forecast: null }};
  {MIXER}.onExecuted({{ orthomerge: [mix] }});
}}"""
COPY = f"""async () => {{
  const mixer = {MIXER};
  const copied = mixer.clone().serialize();
  app.canvas.selectItems?.([mixer]);
  app.canvas.copyToClipboard([mixer]);
  const text = btoa(localStorage.getItem("litegrapheditor_clipboard"));
  app.canvas.pasteFromClipboard();
  return [text.length > 0, JSON.stringify(copied.properties)];
}}"""
SET = """([kind, name, value]) => {
  const node = app.graph._nodes.find((n) => n.type === kind);
  const widget = node.widgets.find((w) => w.name === name);
  widget.value = value;
  widget.callback?.(value);
}"""
MODE = """([kind, mode]) => {
  app.canvas.emitBeforeChange();
  app.graph._nodes.find((n) => n.type === kind).mode = mode;
  app.canvas.emitAfterChange();
}"""


def face(studio: Studio, words: str):
    return studio.page.locator(".om-face", has_text=words).first


@pytest.fixture
def filled(studio: Studio) -> Studio:
    studio.run()
    studio.row("photo").wait_for()
    return studio


def test_thirty_models_leave_the_table_its_room(
    studio: Studio, vue: bool, picture: Callable[[str], Path]
):
    studio.page.evaluate(MANY, 30)
    studio.page.evaluate(f"{MIXER}.setSize([760, 640])")
    studio.row("m000").wait_for()
    studio.settle()
    room = studio.page.evaluate(ROOM)
    assert room["footer"] < 110
    assert room["rows"] >= min(room["view"] / 2, 6 * 54)
    line = studio.table.get_by_role("button", name="20 rows off as redundant")
    assert studio.table.get_by_text("is off: redundant to m000").count() == 0
    studio.screenshot(picture("thirty"))
    line.click()
    told = studio.page.locator(".om-notices li")
    assert told.filter(has_text="m001 is off").count() == 1
    assert told.count() >= 20
    told.filter(has_text="m028 is off").get_by_role("button", name="m028").click()
    assert studio.row("m028").is_visible()


def test_a_remark_on_one_row_moves_no_other(filled: Studio):
    places = "(all) => all.map((e) => Math.round(e.getBoundingClientRect().top))"
    before = filled.rows().evaluate_all(places)
    filled.row("ink").locator("label.om-check").click()  # its child now lacks its parent
    assert filled.row("ink-fine").get_by_text("“ink” is not merged").is_visible()
    assert filled.rows().evaluate_all(places) == before


def test_hundreds_of_rows_are_filtered_and_scrolled(studio: Studio):
    studio.page.evaluate(MANY, 250)
    studio.row("m000").wait_for()
    assert studio.rows().count() < 80  # only those in sight are in the page
    studio.table.locator(".om-rows").evaluate("(e) => { e.scrollTop = 1e6; }")
    studio.row("m249").wait_for()
    studio.page.get_by_role("searchbox", name="Filter rows").fill("m12")
    assert studio.models() == [f"m{i}" for i in range(120, 130)]
    studio.page.get_by_role("combobox", name="Rows to show").select_option("on")
    assert studio.models() == ["m120", "m123", "m126", "m129"]
    studio.alpha("m123").fill("0.5")
    studio.alpha("m123").press("Enter")
    assert json.loads(studio.sent_table())["rows"][-1]["model"] == "m123"
    assert studio.models() == ["m120", "m123", "m126", "m129"]


def test_a_copy_is_plain_text_and_shows_its_source_s_rows(filled: Studio):
    copied, properties = filled.page.evaluate(COPY)
    assert copied and properties.isascii()
    filled.page.wait_for_function(
        "app.graph._nodes.filter((n) => n.type === 'OrthoMixer').length === 2"
    )
    filled.settle()
    state = filled.page.evaluate(
        """() => app.graphToPrompt().then(({ output }) => Object.values(output)
          .filter((n) => n.class_type === "OrthoMixer").map((n) => n.inputs.table))"""
    )
    [pasted] = [json.loads(text) for text in state if text]
    rows = {row["model"]: row for row in pasted["rows"]}
    assert list(rows) == MODELS
    assert rows["paint-copy"]["enabled"] is False and rows["ink-fine"]["delta_from"] == "ink"
    saved = filled.page.evaluate("app.graph.serialize().nodes.map((n) => n.properties.orthomerge)")
    assert not any(saved)


def test_an_unsaved_table_survives_a_reload_and_a_second_tab(
    host: ComfyHost, browser: Browser, vue: bool
):
    with browser.page(host, vue=vue, **{"Comfy.Workflow.Persist": True}) as studio:
        studio.open().load().run()
        studio.row("photo").wait_for()
        studio.alpha("photo").fill("0.4321")
        studio.alpha("photo").press("Enter")
        table = studio.value()
        studio.page.wait_for_timeout(1500)  # newer pages keep drafts with a delay
        studio.page.reload()
        for page in (studio.page, studio.page.context.new_page()):
            tab = Studio(page, host)
            tab.open()
            page.wait_for_function(f"!!{MIXER}?.widgets?.length")
            tab.show()
            tab.row("photo").wait_for()
            assert tab.value() == table
            assert tab.models() == MODELS
            assert tab.alpha("photo").input_value() == "0.4321"
        page.close()


def test_results_of_another_graph_are_marked_at_once(page: Studio, picture: Callable[[str], Path]):
    filled = page.graph()
    filled.fit()
    alpha = round(random.SystemRandom().uniform(0.5, 0.7), 4)  # a merge that no test left cached
    filled.set_value(json.dumps({"rows": [{"model": "ink", "alpha": alpha}]}))
    filled.run()
    merged = face(filled, "Content hash")
    merged.wait_for(state="attached")
    stale = merged.locator(".om-stale-line")
    assert stale.count() == 0
    filled.alpha("photo").fill("0.5")
    filled.alpha("photo").press("Enter")
    stale.wait_for(state="attached")
    assert "table" in stale.inner_text()
    filled.page.evaluate(SET, ["OrthoModelSet", "architecture", "generic"])
    filled.table.get_by_text("from an earlier run").wait_for()
    assert filled.page.locator(".om-table-view.om-stale").count() == 1
    filled.screenshot(picture("stale"))
    filled.page.evaluate(SET, ["OrthoModelSet", "architecture", "auto"])
    filled.page.wait_for_function("!document.querySelector('.om-table-view.om-stale')")
    filled.page.keyboard.press("Escape")
    filled.page.evaluate(MODE, ["OrthoMergeExecute", 4])
    filled.page.wait_for_function(
        "() => [...document.querySelectorAll('.om-stale-line')]"
        ".some((e) => e.textContent.includes('bypass'))"
    )


def test_a_run_that_a_table_stops_says_where(filled: Studio):
    filled.row("ink").locator(".om-c-delta_from button").click()
    filled.page.locator(".om-picker input").fill("photo")
    filled.page.keyboard.press("Enter")
    rows = {"rows": [{"model": "ink", "delta_from": "nobody", "touched": ["delta_from"]}]}
    filled.set_value(json.dumps({"version": 1, **rows}))
    filled.page.evaluate("app.queuePrompt(0)")
    toast = filled.page.locator(".om-toast")
    toast.wait_for()
    assert "ink" in toast.inner_text() and "nobody" in toast.inner_text()
    filled.page.evaluate("app.canvas.ds.offset = [-9000, -9000]")
    toast.get_by_role("button", name="Show").click()
    filled.page.wait_for_function(
        """() => { const at = document.querySelector(".om-table-view").getBoundingClientRect();
          return at.right > 0 && at.left < innerWidth && at.bottom > 0 && at.top < innerHeight; }"""
    )


@pytest.mark.parametrize(
    ("typed", "shown", "said"),
    [
        ("0.5+0.25", "0.75", None),
        ("50 %", "0.50", None),
        ("0.0005", "0.0005", None),
        ("9", "5.00", "9.00 is out of range −5 … 5: 5.00 is used."),
        ("abc", "1.00", "“abc” is not a number. 1.00 stays."),
    ],
)
def test_typed_numbers_are_worked_out_or_answered(
    host: ComfyHost, browser: Browser, typed: str, shown: str, said: str | None
):
    with browser.page(host) as studio:
        studio.open().load().set_value('{"version": 1, "rows": [{"model": "ink"}]}')
        alpha = studio.alpha("ink")
        alpha.fill(typed)
        alpha.press("Enter")
        if said:
            assert studio.page.locator(".om-hint").inner_text() == said
        alpha.blur()
        assert studio.alpha("ink").input_value() == shown


def test_a_pasted_alpha_out_of_range_says_so(studio: Studio):
    studio.table.get_by_role("button", name="More").click()
    studio.page.get_by_role("menuitem", name="Paste rows").click()
    studio.page.get_by_placeholder("Paste rows here").fill("model\talpha\nink\t7")
    assert studio.page.get_by_text("Line 2: alpha 7 is out of range −5..5").is_visible()


def test_layers_that_match_nothing_are_marked_before_the_run(filled: Studio):
    layers = filled.cell("photo", "Layers")
    layers.fill("joint_blocks.0=0.5, defualt=1")
    layers.press("Tab")
    said = filled.row("photo").get_by_text(
        "“defualt” matches no tensor of this model. Try “default”."
    )
    said.wait_for()
    assert layers.get_attribute("aria-invalid") == "true"
    layers.fill("*=0.5, joint_blocks.0=1")
    layers.press("Tab")
    filled.row("photo").get_by_text("“joint_blocks.0” has no effect").wait_for()


def test_layers_as_a_picture_write_the_text_and_follow_it(
    filled: Studio, picture: Callable[[str], Path]
):
    filled.row("photo").get_by_role("button", name="photo: Layers by block").click()
    panel = filled.page.locator(".om-layers-panel")
    assert "51 of 51 tensors take part" in panel.inner_text()
    weight = panel.get_by_role("spinbutton", name="joint_blocks.0: Weight")
    weight.fill("0.5")
    weight.press("Enter")
    text = panel.get_by_role("textbox", name="Layers as text")
    assert text.input_value() == "joint_blocks.0=0.5"
    attention = panel.get_by_role("spinbutton", name="attention: Weight")
    attention.fill("0")
    attention.press("Enter")
    assert text.input_value() == "*attn*=0, joint_blocks.0=0.5"
    filled.screenshot(picture("layers"))
    text.fill("joint_blocks=0")
    text.press("Tab")
    assert weight.input_value() == "0"
    panel.get_by_role("button", name="Apply").click()
    assert filled.cell("photo", "Layers").input_value() == "joint_blocks=0"


def test_the_alpha_that_keeps_all_is_offered(filled: Studio):
    kept = filled.row("ink-fine").locator("[data-figure=kept]")
    shown = re.search(r"(\d+) %", kept.inner_text())
    assert shown and int(shown[1]) > 110
    assert "More than 100 %" in kept.locator(".om-figure").get_attribute("title")
    filled.row("ink-fine").get_by_role("button", name="ink-fine: Row menu", exact=True).click()
    filled.page.get_by_role("menuitem", name="Keep exactly 100 %").click()
    assert "100 %" in filled.row("ink-fine").locator("[data-figure=kept]").inner_text()
    assert filled.alpha("ink-fine").input_value() != "1.00"


def test_a_narrow_table_is_a_list_of_cards(filled: Studio):
    filled.page.evaluate("document.querySelector('.om-table-view').style.maxWidth = '290px'")
    filled.settle()
    name = filled.row("paint-copy").locator(".om-c-model .om-choice-text")
    fits = "(e) => e.scrollWidth <= e.clientWidth + 1 && e.clientWidth > 40"
    assert name.evaluate(fits)
    slider = filled.cell("paint-copy", "Alpha").first.bounding_box()
    assert slider and slider["y"] > name.bounding_box()["y"] + 10
    overflow = filled.table.locator(".om-rows").evaluate("(e) => e.scrollWidth - e.clientWidth")
    assert overflow <= 0


def test_rows_are_there_as_soon_as_a_set_is_wired(studio: Studio):
    studio.page.evaluate(
        f"() => {{ const slot = {MIXER}.inputs.findIndex((i) => i.name === 'mix');"
        f" {MIXER}.disconnectInput(slot); }}"
    )
    studio.row("photo").wait_for()
    assert sorted(studio.models()) == sorted(MODELS)


def test_undo_from_a_button_keeps_the_focus(filled: Studio):
    before = filled.value()
    filled.alpha("photo").fill("0.5")
    filled.alpha("photo").press("Enter")
    filled.row("photo").get_by_role("button", name="photo: Row menu", exact=True).focus()
    filled.page.keyboard.press("Control+z")
    filled.wait_for_value(before)
    filled.page.wait_for_function(
        "document.activeElement?.getAttribute('aria-label') === 'photo: Row menu'"
    )


def test_open_options_stay_open_after_a_reload(filled: Studio):
    filled.table.locator(".om-options summary").click()
    saved = filled.page.evaluate("app.graph.serialize()")
    filled.page.reload()
    filled.open().load(saved)
    filled.table.locator(".om-options[open]").wait_for()


@pytest.mark.parametrize(
    ("setting", "language", "title", "label"),
    [("Comfy.Locale", "zh", "合并", "方法"), ("OrthoMerge.Language", "de", "Ortho", "Verfahren")],
)
def test_nodes_are_named_in_the_page_s_language(
    host: ComfyHost, browser: Browser, setting: str, language: str, title: str, label: str
):
    with browser.page(host, **{setting: language}) as studio:
        studio.open().load()
        shown = studio.page.evaluate(
            f"""() => [LiteGraph.registered_node_types.OrthoMixer.title,
              {MIXER}.widgets.find((w) => w.name === "method").label]"""
        )
        assert title in shown[0] and shown[1] == label


def test_a_report_s_notes_are_all_on_its_face(page: Studio):
    page.graph().fit()
    notes = [{"code": "merge.no_row", "values": {}, "text": "No row is active."}, "As it came."]
    page.page.evaluate(
        """(messages) => app.graph._nodes.find((n) => n.type === "OrthoMergeExecute").onExecuted({
          orthomerge: [{ kind: "merge", report: { content_hash: "00", retention: {},
            notes: messages.map((m) => m.text ?? m), messages: [messages[0]] } }] })""",
        notes,
    )
    told = face(page, "Content hash").locator(".om-problem")
    assert told.all_inner_texts() == ["No row is active.", "As it came."]
