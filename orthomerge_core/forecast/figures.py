"""The figures of a forecast: per row, block and component, and for the whole merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BlockForecast", "ComponentForecast", "Forecast", "RowForecast"]


@dataclass(frozen=True)
class RowForecast:
    """One row of the table, whether it is on or not.

    All over the diffusion model's tensors. norm: ‖δ‖. new_information: mean of 1 − cos² against the
    other active rows. retention: ⟨W−B, δ⟩/‖δ‖²: 1 keeps the row's change whole. None where
    undefined.
    problem: "" or why the row cannot be evaluated: "model", "delta_from" (not in the analysis),
    "layers" (not readable).
    """

    norm: float | None
    new_information: float | None
    retention: float | None
    problem: str = ""


@dataclass(frozen=True)
class BlockForecast:
    """One block. norm: ‖W−B‖ there. cancellation, retention (one per row) as in `Forecast`."""

    block: str
    norm: float | None
    cancellation: float | None
    retention: tuple[float | None, ...]


@dataclass(frozen=True)
class ComponentForecast:
    """One component by itself. Fields as in `Forecast`; retention: one per row."""

    component: str
    norm: float | None
    base_share: float | None
    cancellation: float | None
    retention: tuple[float | None, ...]


@dataclass(frozen=True)
class Forecast:
    """What a merge will keep, from `forecast`.

    exact: equal to what the merge measures; False marks an estimate, or (all of norm, base_share,
    cancellation and retention None) a method whose outcome distances do not tell. norm: ‖W−B‖.
    base_share: ‖W−B‖/‖B‖. cancellation: 1 − ‖W−B‖² / Σ (w_i ‖δ_i‖)² with w_i what the table asks
    of the row: 0 for rows that do not meet, up to 1 where they cancel, below 0 where they reinforce
    each other. These are the diffusion model's; `components` has every component by itself.
    """

    method: str
    exact: bool
    norm: float | None
    base_share: float | None
    cancellation: float | None
    rows: tuple[RowForecast, ...]
    blocks: tuple[BlockForecast, ...]
    components: tuple[ComponentForecast, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as the browser's version returns it."""
        rows = [dict(vars(r)) for r in self.rows]
        blocks = [vars(b) | {"retention": list(b.retention)} for b in self.blocks]
        parts = [vars(c) | {"retention": list(c.retention)} for c in self.components]
        return vars(self) | {"rows": rows, "blocks": blocks, "components": parts}
