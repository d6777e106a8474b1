"""Shipped workflows keep their settings when a page opens them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.support.browser import Browser, workflow
from scripts.support.comfy_host import ComfyHost
from scripts.support.env import ROOT
from scripts.support.examples import EXAMPLES

pytestmark = pytest.mark.browser


def settings(prompt: dict[str, Any]) -> list[str]:
    """Each node's type with its typed inputs, without wires and numbers of nodes."""
    nodes = [
        {"type": node["class_type"]}
        | {name: _plain(value) for name, value in node["inputs"].items() if not _is_wire(value)}
        for node in prompt.values()
        if node["class_type"] != "PreviewAny"  # older pages send the text that it shows
    ]
    return sorted(json.dumps(node, sort_keys=True) for node in nodes)


def _is_wire(value: object) -> bool:
    return isinstance(value, list)


def _plain(value: object) -> object:
    """A page writes 2.0 as 2."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else value  # type: ignore[arg-type]


def test_a_page_sends_what_the_api_prompts_say(host: ComfyHost, browser: Browser):
    with browser.page(host) as studio:
        studio.open()
        for example in EXAMPLES:
            api = ROOT / "example_workflows" / "api" / f"{example.name}.json"
            studio.graph(workflow(example.name)).settle()
            sent = studio.page.evaluate("app.graphToPrompt().then((p) => p.output)")
            assert settings(sent) == settings(json.loads(api.read_text())), example.name
