"""The merge in symbols, on the cases that the browser's formula is held against too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orthomerge_core.recipe.formula import formula
from orthomerge_core.recipe.model import ModelRef, Recipe, Row, TextureBoost

CASES = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "formula_cases.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_line_is_the_fixture_s(case: dict[str, Any]) -> None:
    recipe = Recipe(
        base="base.safetensors",
        models={row["model"]: ModelRef(f"{row['model']}.safetensors") for row in case["rows"]},
        rows=tuple(Row(**row) for row in case["rows"]),
        method=case["method"],
        texture_boost=TextureBoost(case.get("texture_model"), case.get("texture_alpha", 0.0)),
        strength=case.get("strength", 1.0),
    )
    assert formula(recipe) == case["line"]
