"""From a merge to its base and back at the face, and a grid's cell into the table."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scripts.support.browser import MODELS, Studio, workflow

pytestmark = pytest.mark.browser

TELL = """([kind, payload]) => app.graph._nodes.find((n) => n.type === kind)
  .onExecuted({ orthomerge: [payload] })"""
DROP = """(data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "grid.png", { type: "image/png" }));
  const target = document.querySelector(".om-table-view");
  const how = { bubbles: true, cancelable: true, dataTransfer: transfer };
  for (const type of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(type, how));
}"""


def recipe(alpha: float) -> dict:
    rows = [{"model": name, "alpha": alpha, "delta_from": "base"} for name in MODELS[:2]]
    return {"rows": rows, "method": "slerp", "options": {}, "strength": 1.0}


GRID = {
    "version": 1,
    "axes": [{"name": "alpha", "labels": ["0.25", "0.75"]}],
    "cells": [
        {"place": [i], "labels": [str(a)], "caption": f"{a:.0%} kept", "recipe": recipe(a)}
        for i, a in enumerate((0.25, 0.75))
    ],
}


def sent_alphas(studio: Studio) -> list[float]:
    return [row["alpha"] for row in json.loads(studio.sent_table())["rows"]]


def test_base_and_merge_are_one_click_apart(page: Studio):
    page.graph().fit()
    report = {"content_hash": "0" * 32, "retention": {"ink": 0.8}, "notes": [], "messages": []}
    page.page.evaluate(TELL, ["OrthoMergeExecute", {"kind": "merge", "report": report}])
    bar = page.page.locator(".om-ab").first
    bar.wait_for(state="attached")
    page.settle()
    base, merge = bar.locator("button").all()
    assert merge.get_attribute("aria-pressed") == "true"
    base.dispatch_event("click")
    assert page.sent("OrthoMergeExecute")["strength"] == 0
    assert bar.locator("button").first.get_attribute("aria-pressed") == "true"


def test_a_cell_of_a_dropped_picture_becomes_the_table(studio: Studio):
    texts = PngInfo()
    texts.add_text("orthomerge.grid", json.dumps(GRID))
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=texts)
    before = studio.value()
    studio.page.evaluate(DROP, base64.b64encode(file.getvalue()).decode())
    studio.page.get_by_role("option", name="alpha 0.75").click()
    assert sent_alphas(studio) == [0.75, 0.75]
    assert studio.sent()["method"] == "slerp"
    studio.page.keyboard.press("Control+z")
    studio.wait_for_value(before)
    assert studio.sent()["method"] != "slerp"


def test_a_cell_is_taken_from_the_picture_s_face(page: Studio):
    page.graph(workflow("full_studio")).fit()
    page.page.evaluate(TELL, ["OrthoGridPicture", {"kind": "grid", **GRID}])
    button = page.page.locator(".om-face button[aria-label='Take this cell: alpha 0.25']")
    button.wait_for(state="attached")
    page.settle()
    button.dispatch_event("click")
    assert sent_alphas(page) == [0.25, 0.25]
