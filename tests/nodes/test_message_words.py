"""Messages in other languages: every code, with the same values."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from orthomerge_core.messages import TEMPLATES

LOCALES = Path(__file__).resolve().parents[2] / "locales"


def values(template: str) -> set[str]:
    return set(re.findall(r"\{(\w+)", template))


@pytest.mark.parametrize("language", ["de", "zh"])
def test_every_message_is_translated_and_takes_the_same_values(language: str) -> None:
    page = json.loads((LOCALES / language / "main.json").read_text(encoding="utf-8"))
    words = page["orthomergeMessages"]
    assert set(words) == set(TEMPLATES)
    for code, template in words.items():
        assert values(template) == values(TEMPLATES[code]), code
        assert "|" not in template or re.search(r"\{\w+:#?[^{}|]*\|[^{}|]*\}", template), code
