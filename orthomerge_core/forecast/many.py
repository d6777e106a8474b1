"""Many forecasts of one analysis: what does not depend on alpha is computed once.

A search changes alphas thousands of times. For a linear method whose coefficients are c = L α with
L fixed by the Gram, ⟨W−B, δ_r⟩ = (G L α)_r and ‖W−B‖² = αᵀ Lᵀ G L α, so G L and Lᵀ G L are kept per
tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import RecipeError
from ..methods.contract import LinearMethod
from ..methods.forecast_rule import Floats
from ..methods.registry import get_method
from ..recipe.layers import parse_layers
from ..recipe.model import BASE, Recipe, Row
from .forecast import forecast
from .reduction import Reduced

__all__ = ["Figures", "ManyForecasts"]

_MOST = 64
"""Kept combinations of method, options, parents, repeats and active rows."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Figures:
    """The totals of a `Forecast`, with the recipe's strength in them. retention: one per row."""

    retention: tuple[float | None, ...]
    norm: float | None
    base_share: float | None
    cancellation: float | None


@dataclass(frozen=True)
class _Parts:
    """kept [keys, rows, rows] = G L, energy [keys, rows, rows] = Lᵀ G L, norms2 [keys, rows]."""

    kept: Floats
    energy: Floats
    norms2: Floats
    nominal: Floats


class ManyForecasts:
    """`figures(recipe)` equals the totals of `forecast`, up to rounding.

    Cost: keys · rows² for a linear method whose rows differ in alpha and layers only; as `forecast`
    for anything else. Not safe for several threads at once.
    """

    def __init__(self, data: Reduced) -> None:
        self._data = data
        self._node = {BASE: 0} | {name: i for i, name in enumerate(data.names, 1)}
        self._base = float(np.sqrt(data.base_energy.sum()))
        self._layers: dict[str, Floats] = {}
        self._parts: dict[tuple[Any, ...], _Parts | None] = {}

    def figures(self, recipe: Recipe) -> Figures:
        """Raises `RecipeError` as `forecast` does."""
        method = get_method(recipe.method)
        options = method.check_options(recipe.options)
        known = all(r.model in self._node and r.delta_from in self._node for r in recipe.rows)
        linear = isinstance(method, LinearMethod) and method.forecast is not None
        if not (known and linear and recipe.rows) or recipe.texture_boost.active:
            return self._slow(recipe, options)
        try:
            weights = self._weights(recipe.rows)
        except RecipeError:
            return self._slow(recipe, options)
        place = (
            method.name,
            tuple(sorted(options.items())),
            tuple((row.model, row.delta_from, row.repeat) for row in recipe.rows),
            (weights != 0.0).tobytes(),
        )
        if place not in self._parts:
            while len(self._parts) >= _MOST:
                del self._parts[next(iter(self._parts))]
            self._parts[place] = self._made(method, options, recipe.rows, weights)
        parts = self._parts[place]
        return self._slow(recipe, options) if parts is None else self._fast(recipe, weights, parts)

    def _fast(self, recipe: Recipe, weights: Floats, parts: _Parts) -> Figures:
        own, s = parts.norms2.sum(axis=0), recipe.strength
        dots = np.einsum("kij,kj->i", parts.kept, weights)
        merged2 = float(np.einsum("ki,kij,kj->", weights, parts.energy, weights, optimize=True))
        merged2 = s * s * max(merged2, 0.0)
        nominal2 = float(np.sum((parts.nominal * weights) ** 2 * parts.norms2))
        norm = float(np.sqrt(merged2))
        return Figures(
            tuple(float(s * d / n) if n > 0 else None for d, n in zip(dots, own, strict=True)),
            norm,
            norm / self._base if self._base > 0 else None,
            1.0 - merged2 / nominal2 if nominal2 > 0 else None,
        )

    def _slow(self, recipe: Recipe, options: Mapping[str, Any]) -> Figures:
        found = forecast(self._data, recipe.rows, recipe.method, options, recipe.texture_boost)
        s = recipe.strength

        def times(value: float | None, factor: float) -> float | None:
            return None if value is None else value * factor

        rest = None if found.cancellation is None else 1.0 - s * s * (1.0 - found.cancellation)
        return Figures(
            tuple(times(row.retention, s) for row in found.rows),
            times(found.norm, abs(s)),
            times(found.base_share, abs(s)),
            rest,
        )

    def _weights(self, rows: Sequence[Row]) -> Floats:
        """α · layer weight, 0 for rows that are off, [keys, rows]."""
        columns = [
            row.alpha * self._layer(row.layers) if row.active else np.zeros(len(self._data.keys))
            for row in rows
        ]
        return np.stack(columns, axis=1)

    def _layer(self, text: str) -> Floats:
        if text not in self._layers:
            found = parse_layers(text, self._data.blocks)
            places = zip(self._data.keys, self._data.block_of, strict=True)
            weights = [found.weight(key, self._data.blocks[b]) for key, b in places]
            while len(self._layers) >= _MOST:
                del self._layers[next(iter(self._layers))]
            self._layers[text] = np.asarray(weights, dtype=np.float64)
        return self._layers[text]

    def _made(
        self, method: Any, options: Mapping[str, Any], rows: Sequence[Row], weights: Floats
    ) -> _Parts | None:
        """The parts, or None where the method's coefficients are not linear in alpha."""
        grams = self._grams(rows)
        norms2 = np.einsum("krr->kr", grams).copy()
        lifted, nominal = np.zeros_like(grams), np.zeros_like(norms2)
        same: dict[bytes, tuple[Floats, Floats]] = {}
        for k in range(len(grams)):
            on = np.flatnonzero((weights[k] != 0.0) & (norms2[k] > 0.0))
            if not len(on):
                continue
            place = on.tobytes()
            if method.needs_gram or place not in same:
                gram = grams[k][np.ix_(on, on)]
                repeats = [rows[r].repeat for r in on.tolist()]
                made = _lift(method, options, gram, repeats, check=place not in same)
                if made is None:
                    return None
                same[place] = made
            lifted[k][np.ix_(on, on)], nominal[k, on] = same[place]
        kept = grams @ lifted
        return _Parts(kept, np.swapaxes(lifted, 1, 2) @ kept, norms2, nominal)

    def _grams(self, rows: Sequence[Row]) -> Floats:
        """⟨δ_r, δ_s⟩ [keys, rows, rows] from distances."""
        d = self._data.distances
        model = np.asarray([self._node[row.model] for row in rows])
        parent = np.asarray([self._node[row.delta_from] for row in rows])
        mine, other = model[:, None], parent[:, None]
        grams = d[:, mine, parent] + d[:, other, model] - d[:, mine, model] - d[:, other, parent]
        return np.asarray(grams / 2.0)


def _lift(
    method: LinearMethod,
    options: Mapping[str, Any],
    gram: Floats,
    repeats: list[int],
    *,
    check: bool,
) -> tuple[Floats, Floats] | None:
    """(L with c = L α, nominal weights at α = 1) for one tensor; None where c is not linear."""
    held, count = torch.from_numpy(np.ascontiguousarray(gram)), len(repeats)

    def coefficients(alphas: Floats) -> Floats:
        return method.coefficients(held, alphas.tolist(), repeats, options).numpy()

    columns = [coefficients(unit) for unit in np.eye(count)]
    lifted = np.stack(columns, axis=1)
    if check:
        probe = np.linspace(0.3, 1.7, count)
        gap = np.abs(coefficients(probe) - lifted @ probe).max()
        if gap > _ROUNDING * max(1.0, float(np.abs(lifted).max())):
            return None
    total = np.asarray(repeats, dtype=np.float64)
    return lifted, total / total.sum() if method.averages_with(options) else total
