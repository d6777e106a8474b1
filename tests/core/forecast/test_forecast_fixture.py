"""The fixture that the browser's forecast is tested with says what the core says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.forecast.forecast_fixture import FIXTURE, cases


def nearly(value: Any) -> Any:
    """Numbers within rounding, everything else as it is."""
    if isinstance(value, dict):
        return {k: nearly(v) for k, v in value.items()}
    if isinstance(value, list):
        return [nearly(v) for v in value]
    return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value


def test_the_fixture_is_up_to_date() -> None:
    stored, now = json.loads(FIXTURE.read_text(encoding="utf-8")), cases()
    assert stored["methods"] == json.loads(json.dumps(now["methods"]))
    assert stored["tables"] == now["tables"]
    assert stored["reduced"]["keys"] == now["reduced"]["keys"]
    for kind in ("cases", "part_cases"):
        for old, new in zip(stored[kind], now[kind], strict=True):
            assert nearly(json.loads(json.dumps(new))) == old
