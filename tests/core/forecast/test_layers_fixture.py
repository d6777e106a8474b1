"""The cases that the browser's layer parser runs on hold for the core's as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe.layers import parse_layers

FIXTURE = Path(__file__).parents[2] / "fixtures" / "layers.json"
CASES: dict[str, list[Any]] = json.loads(FIXTURE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES["weights"], ids=lambda c: c["text"] or "empty")
def test_weight(case: dict[str, Any]) -> None:
    assert parse_layers(case["text"]).weight(case["key"], case["block"]) == case["weight"]


@pytest.mark.parametrize("text", CASES["errors"], ids=lambda t: t[:20])
def test_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="layers:"):
        parse_layers(text)
