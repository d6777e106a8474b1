"""The table in real Chromium on a real ComfyUI: both renderers of both frontends."""

from __future__ import annotations

import json

import pytest

from scripts.support.browser import MODELS

pytestmark = pytest.mark.browser


def rows_of(text: str) -> dict[str, dict]:
    return {row["model"]: row for row in json.loads(text)["rows"]} if text else {}


def test_run_fills_the_table_and_edits_reach_the_prompt(studio, picture):
    assert studio.table.get_by_text("Run the graph once").is_visible()
    studio.run()
    studio.row("photo").wait_for()
    assert studio.models() == MODELS
    assert studio.sent_table() == ""
    assert studio.row("ink-fine").locator(".om-c-delta_from").inner_text() == "ink"
    assert not studio.row("paint-copy").get_by_role("checkbox").is_checked()
    assert "%" in studio.row("ink").locator("[data-figure=kept]").inner_text()

    # typing
    alpha = studio.alpha("photo")
    alpha.fill("0.5")
    alpha.press("Enter")
    assert rows_of(studio.sent_table())["photo"]["alpha"] == 0.5
    assert "proposal" in alpha.get_attribute("title").lower()
    # arrows on the slider
    slider = studio.cell("ink", "Alpha").and_(studio.page.get_by_role("slider"))
    slider.focus()
    slider.press("ArrowLeft")
    assert rows_of(studio.sent_table())["ink"]["alpha"] == 0.95
    # mouse
    studio.row("paint").locator("label.om-check").click()
    studio.cell("ink", "Repeat").select_option("3")
    studio.cell("paint", "Layers").fill("*attn*=0.5, default=1")
    studio.cell("paint", "Layers").press("Tab")
    sent = rows_of(studio.sent_table())
    assert sent["paint"]["enabled"] is False
    assert sent["paint"]["layers"] == "*attn*=0.5, default=1"
    assert sent["ink"]["repeat"] == 3
    # the parent, by typing into its list
    studio.row("photo").locator(".om-c-delta_from button").click()
    studio.page.locator(".om-picker input").fill("pain")
    studio.page.keyboard.press("ArrowDown")
    studio.page.keyboard.press("Enter")
    assert rows_of(studio.sent_table())["photo"]["delta_from"] == "paint-copy"
    # what is shown is what is sent, and the server takes it
    studio.screenshot(picture("mixer"))
    studio.row("photo").get_by_role("button", name="Turn on paint-copy").click()
    assert rows_of(studio.sent_table())["paint-copy"]["enabled"] is True
    table = studio.sent_table()
    entry = studio.host.get(f"/history/{studio.run()}")
    prompt = next(iter(entry.values()))["prompt"][2]
    assert (
        table
        == next(n for n in prompt.values() if n["class_type"] == "OrthoMixer")["inputs"]["table"]
    )


def test_undo_redo_by_keyboard(studio):
    studio.run()
    studio.row("photo").wait_for()
    before = studio.value()
    alpha = studio.alpha("photo")
    alpha.fill("0.5")
    alpha.press("Enter")
    edited = studio.value()
    assert edited != before
    studio.row("ink").locator("label.om-check").click()
    twice = studio.value()
    studio.page.keyboard.press("Control+z")
    studio.wait_for_value(edited)
    studio.row("photo").wait_for()
    studio.page.keyboard.press("Control+z")
    studio.wait_for_value(before)
    studio.row("photo").wait_for()
    assert studio.models() == MODELS
    studio.page.keyboard.press("Control+y")
    studio.wait_for_value(edited)
    studio.row("photo").wait_for()
    studio.page.keyboard.press("Control+Shift+z")
    studio.wait_for_value(twice)


def test_rows_move_copy_and_go_by_keyboard(studio):
    studio.run()
    studio.row("photo").wait_for()
    move = studio.row("photo").get_by_role("button", name="Move: photo")
    move.focus()
    studio.page.keyboard.press("ArrowUp")
    studio.page.keyboard.press("Alt+ArrowUp")
    assert studio.models()[:3] == ["ink", "ink-fine", "photo"]
    assert json.loads(studio.sent_table())["ordered"] is True
    studio.page.keyboard.press("Control+d")
    assert studio.models().count("photo") == 2
    studio.page.keyboard.press("Escape")
    studio.row("ink").get_by_role("button", name="ink: Row menu", exact=True).focus()
    studio.page.keyboard.press("Delete")
    assert "ink" not in studio.models()
    assert json.loads(studio.sent_table())["removed"] == ["ink"]
    studio.table.get_by_role("button", name="More").click()
    studio.page.get_by_role("menuitem", name="Reset table").click()
    assert studio.sent_table() == ""
    assert studio.models() == MODELS


def test_a_row_is_dragged(studio):
    studio.run()
    studio.row("photo").wait_for()
    handle = studio.row("photo").locator(".om-handle").bounding_box()
    target = studio.row("ink").bounding_box()
    mouse = studio.page.mouse
    mouse.move(handle["x"] + 8, handle["y"] + 10)
    mouse.down()
    mouse.move(handle["x"] + 8, handle["y"] - 20)
    mouse.move(handle["x"] + 8, target["y"] + 6)
    mouse.up()
    assert studio.models()[0] == "photo"


def test_save_and_reload_keep_everything(studio):
    studio.run()
    studio.row("photo").wait_for()
    studio.cell("photo", "Repeat").select_option("2")
    table = studio.value()
    saved = studio.page.evaluate("app.graph.serialize()")
    studio.page.reload()
    studio.open().load(saved)
    studio.row("photo").wait_for()
    assert studio.value() == table == studio.sent_table()
    assert studio.models() == MODELS
    assert studio.cell("photo", "Repeat").input_value() == "2"


def test_options_presets_and_paste(studio):
    studio.run()
    studio.row("photo").wait_for()
    options = studio.table.locator(".om-options")
    if options.get_attribute("open") is None:  # an earlier page may have left them open
        options.locator("summary").click()
    studio.table.get_by_role("combobox", name="variant").select_option("symmetric")
    chosen = {"orthogonal_projection": {"variant": "symmetric"}}
    assert json.loads(studio.sent_table())["options"] == chosen
    studio.table.get_by_role("button", name="Presets").click()
    studio.page.get_by_placeholder("Name of the preset").fill("soft <b>")
    studio.page.keyboard.press("Enter")
    studio.page.get_by_role("button", name="Load soft <b>").wait_for()
    studio.page.keyboard.press("Escape")
    studio.table.get_by_role("button", name="More").click()
    studio.page.get_by_role("menuitem", name="Paste rows").click()
    studio.page.get_by_placeholder("Paste rows here").fill("model\talpha\nink\t0,25\nphoto\t9")
    assert studio.page.get_by_text("Line 3: alpha").is_visible()
    studio.page.get_by_role("button", name="Apply").click()
    assert studio.models() == ["ink", "photo"]
    assert rows_of(studio.sent_table())["ink"]["alpha"] == 0.25
    studio.table.get_by_role("button", name="Presets").click()
    studio.page.get_by_role("button", name="Load soft <b>").click()
    assert studio.models() == MODELS
    studio.table.get_by_role("button", name="Presets").click()
    studio.page.get_by_role("button", name="Delete soft <b>").click()
    studio.page.get_by_text("No presets yet").wait_for()
