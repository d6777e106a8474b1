"""What only some sets and merges show: VAE and prediction in the table, strength at the merge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.browser import MODELS, Studio

pytestmark = pytest.mark.browser

TELL = """(mix) => app.graph._nodes.find((n) => n.type === "OrthoMixer")
  .onExecuted({ orthomerge: [mix] })"""


def told(parts: dict | None) -> dict:
    """What a mixer without an optimizer tells the page."""
    return {
        "kind": "mix",
        "names": MODELS,
        "proposal": [],
        "warnings": [],
        "forecast": None,
        "parts": parts,
    }


def test_diffusion_models_show_no_parts(studio: Studio):
    studio.rows().first.wait_for()
    assert studio.page.locator(".om-parts-bar").count() == 0
    for words in ("VAE", "prediction"):  # nor as fields of their own
        assert studio.page.get_by_label(words, exact=True).count() == 0
    assert (studio.sent()["vae"], studio.sent()["prediction"]) == ("base", "")


def test_hidden_fields_take_no_room(studio: Studio):
    unused = studio.page.evaluate(
        """() => {
          const node = app.graph._nodes.find((n) => n.type === "OrthoMixer");
          const shown = node.widgets.filter((w) => !w.hidden);
          const table = shown.find((w) => w.name === "table");
          return LiteGraph.vueNodesMode ? 0 : node.size[1] - table.y - table.computedHeight;
        }"""
    )
    assert 0 <= unused <= 8


def test_vae_and_prediction_are_chosen_in_the_table(studio: Studio, picture: Callable[[str], Path]):
    predictions = {"base": "epsilon"} | dict.fromkeys(MODELS, "epsilon") | {"photo": "v"}
    parts = {
        "components": ["diffusion", "text_encoder.l", "vae"],
        "vae": ["ink"],
        "predictions": predictions,
        "vae_files": ["sub/sharp.safetensors"],
    }
    studio.page.evaluate(TELL, told(parts))
    bar = studio.page.locator(".om-parts-bar")
    bar.wait_for()
    assert studio.table.locator("th.om-c-text").is_visible()
    studio.table.get_by_text("do not predict the same").first.wait_for()
    studio.screenshot(picture("parts"), studio.table)
    bar.get_by_role("button", name="VAE").click()
    studio.page.get_by_role("option", name="sharp.safetensors").click()
    assert studio.sent()["vae"] == "sub/sharp.safetensors"
    bar.get_by_role("button", name="Prediction").click()
    studio.page.get_by_role("option", name="v+ztsnr").click()
    assert studio.sent()["prediction"] == "v+ztsnr"
    assert studio.table.get_by_text("do not predict the same").count() == 0
    studio.page.keyboard.press("Control+z")
    studio.page.wait_for_function(
        "app.graph._nodes.find((n) => n.type === 'OrthoMixer')"
        ".widgets.find((w) => w.name === 'prediction').value === ''"
    )
    studio.settle()
    assert studio.sent()["vae"] == "sub/sharp.safetensors"
    studio.page.get_by_role("button", name="VAE: sharp.safetensors").wait_for()


def test_the_merge_s_strength_is_typed_or_switched_at_its_face(
    page: Studio, picture: Callable[[str], Path]
):
    page.graph().look_at("OrthoMergeExecute")
    page.page.evaluate(
        """() => app.graph._nodes.find((n) => n.type === "OrthoMergeExecute").onExecuted({
          orthomerge: [{ kind: "merge",
            report: { content_hash: "00", retention: {}, notes: [] } }] })"""
    )
    bar = page.page.locator(".om-ab").first
    typed = bar.get_by_role("spinbutton")

    def strength() -> float:
        return float(page.sent("OrthoMergeExecute")["strength"])

    for text, value in (("0.35", 0.35), ("150 %", 1.5), ("9", 5.0)):
        typed.fill(text)
        typed.press("Enter")
        assert strength() == value
    page.page.keyboard.press("Escape")
    bar.get_by_role("button", name="Base").click()
    assert strength() == 0 and typed.input_value() == "0.00"
    assert bar.get_by_role("button", name="Base").get_attribute("aria-pressed") == "true"
    bar.get_by_role("button", name="Merge").click()
    assert strength() == 1
    page.screenshot(picture("strength"), bar, margin=60)
