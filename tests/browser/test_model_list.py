"""The list of chosen models: what is marked in it before a run, and how it takes up new files."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from scripts.support.family import FOLDER, WEIGHTS

pytestmark = pytest.mark.browser

LIST = ".om-models-view"


@pytest.fixture
def chosen(page):
    """The quickstart with its list in view; returns the list."""
    page.graph()
    page.look_at("OrthoModelSet")
    found = page.page.locator(LIST).first
    found.wait_for()
    return found


def put(page, text: str) -> None:
    page.page.evaluate(
        """(text) => {
          const node = app.graph._nodes.find(({ type }) => type === "OrthoModelSet");
          node.widgets.find(({ name }) => name === "models").value = text;
        }""",
        text,
    )


def test_a_wrong_entry_is_marked_where_it_stands(page, chosen, picture):
    put(page, f"{FOLDER}/ink.safetensors\n{FOLDER}/photto.safetensors")
    entries = chosen.locator(".om-chosen li")
    expect(entries).to_have_count(2)
    expect(entries.nth(1)).to_contain_text(f'Did you mean "{FOLDER}/photo.safetensors"')
    expect(entries.nth(0)).to_contain_text("4.0 MB")
    assert entries.nth(0).locator(".om-problem").count() == 0
    page.screenshot(picture("model-list"), chosen)


def test_a_new_file_is_there_after_a_refresh(page, chosen, host):
    place = host.base_dir / "models" / "diffusion_models" / FOLDER / "fresh.safetensors"
    name = f"{FOLDER}/{place.name}"
    put(page, name)
    entry = chosen.locator(".om-chosen li").first
    expect(entry).to_contain_text("Refresh the model lists")
    place.write_bytes((WEIGHTS / "photo.safetensors").read_bytes())
    try:
        chosen.get_by_role("button", name="Refresh the files").click()
        expect(entry).to_contain_text("MB")
        chosen.get_by_role("button", name="Choose models").click()
        option = page.page.get_by_role("option", name="fresh.safetensors")
        expect(option).to_have_attribute("aria-selected", "true")
        expect(option).to_contain_text("4.0 MB")
    finally:
        place.unlink()
