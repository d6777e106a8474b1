"""What a recipe will keep of every model, without touching a file.

Exact for linear methods; `web/js/forecast/forecast.mjs` is the same in the browser. Both run on the
same fixtures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..keys.components import DIFFUSION, VAE, component_of
from ..methods.contract import Method
from ..methods.forecast_rule import Floats, GramRows
from ..methods.registry import get_method
from ..recipe.layers import parse_layers
from ..recipe.model import BASE, MERGE, Row, TextureBoost
from .figures import BlockForecast, ComponentForecast, Forecast, RowForecast
from .reduction import Reduced, read_reduced, reduce_for_table

__all__ = [
    "BlockForecast",
    "ComponentForecast",
    "Forecast",
    "RowForecast",
    "forecast",
    "reduce_for_table",
]


@dataclass(frozen=True)
class _Sums:
    """Per tensor: ⟨W−B, δ_r⟩ [keys, rows], ‖δ_r‖² [keys, rows], ‖W−B‖² [keys], Σ (w‖δ‖)² [keys]."""

    dots: Floats
    norms2: Floats
    merged2: Floats
    nominal2: Floats


def forecast(
    reduced: Mapping[str, Any] | Reduced,
    rows: Sequence[Row],
    method: str,
    options: Mapping[str, Any] | None = None,
    texture: TextureBoost | None = None,
    vae: str = BASE,
) -> Forecast:
    """Norm, retention and cancellation of a merge from `reduce_for_table`'s JSON.

    A row takes part on a tensor as in the executor: enabled, alpha · layer weight ≠ 0, and δ ≠ 0
    there. In text encoders a row's `text` counts instead of its alpha; a VAE is merged only where
    `vae` is "merge". Raises `RecipeError` for an unknown method or option; a row that cannot be
    evaluated has a `problem` and takes no part. Cost: keys · rows³ at most.
    """
    data = reduced if isinstance(reduced, Reduced) else read_reduced(reduced)
    chosen = get_method(method)
    settings = chosen.check_options(options or {})
    nodes, weights, problems = _read_rows(data, rows)
    part_of = [component_of(f"{data.blocks[b]}.") for b in data.block_of]
    copied = np.array([part == VAE and vae != MERGE for part in part_of], dtype=np.bool_)
    weights[copied] = 0.0
    boost = _texture_node(data, rows, texture)
    if boost is not None:
        nodes = [*nodes, boost[0]]
    grams = _row_grams(data, nodes)
    sums = _unknown(data, grams, len(rows))
    rule = chosen.forecast
    if rule is not None:
        counts = [r.repeat for r in rows]
        sums = _merge(data, chosen, settings, weights, counts, grams, boost, copied)
    parts = _components(data, sums, problems, part_of)
    whole = next((p for p in parts if p.component == DIFFUSION), _NOTHING)
    inside = np.array([part == DIFFUSION for part in part_of], dtype=np.bool_)
    return Forecast(
        method=method,
        exact=rule is not None and rule.exact,
        norm=whole.norm,
        base_share=whole.base_share,
        cancellation=whole.cancellation,
        rows=_row_figures(rows, problems, grams[inside], _within(sums, inside)),
        blocks=_blocks(data, sums, problems),
        components=parts,
    )


def _read_rows(
    data: Reduced, rows: Sequence[Row]
) -> tuple[list[tuple[int, int]], Floats, list[str]]:
    """(model, parent) nodes, weights [keys, rows] = alpha · layer weight or 0, problems."""
    node = {BASE: 0} | {name: i for i, name in enumerate(data.names, 1)}
    nodes, problems = [], []
    weights = np.zeros((len(data.keys), len(rows)))
    for r, row in enumerate(rows):
        problem = "" if row.model in node and row.model != BASE else "model"
        problem = problem or ("" if row.delta_from in node else "delta_from")
        try:
            layers = parse_layers(row.layers, data.blocks)
        except RecipeError:
            problem = problem or "layers"
        problems.append(problem)
        nodes.append((0, 0) if problem else (node[row.model], node[row.delta_from]))
        if not problem and row.active:
            blocks = [data.blocks[b] for b in data.block_of]
            found = [layers.weight(k, b) for k, b in zip(data.keys, blocks, strict=True)]
            alphas = [row.alpha_in(component_of(f"{block}.")) for block in blocks]
            weights[:, r] = np.asarray(alphas) * np.asarray(found)
    return nodes, weights, problems


def _texture_node(
    data: Reduced, rows: Sequence[Row], texture: TextureBoost | None
) -> tuple[tuple[int, int], float] | None:
    """((model, parent), alpha) of an active texture boost, measured as its first row is."""
    if texture is None or not texture.active or texture.model not in data.names:
        return None
    parent = next((r.delta_from for r in rows if r.model == texture.model), BASE)
    node = {BASE: 0} | {name: i for i, name in enumerate(data.names, 1)}
    if parent not in node:
        return None
    return (node[str(texture.model)], node[parent]), texture.alpha


def _row_grams(data: Reduced, nodes: Sequence[tuple[int, int]]) -> Floats:
    """⟨δ_r, δ_s⟩ per tensor [keys, rows, rows]; a row's norm is exactly 0 where its δ is."""
    if not nodes:
        return np.zeros((len(data.keys), 0, 0))
    model, parent = np.asarray(nodes, dtype=np.intp).T
    d = data.distances
    mine, other = model[:, None], parent[:, None]
    grams = d[:, mine, parent] + d[:, other, model] - d[:, mine, model] - d[:, other, parent]
    return np.asarray(grams / 2.0)


def _merge(
    data: Reduced,
    method: Method,
    options: Mapping[str, Any],
    weights: Floats,
    repeats: Sequence[int],
    grams: Floats,
    boost: tuple[tuple[int, int], float] | None,
    copied: NDArray[np.bool_],
) -> _Sums:
    keys, count = weights.shape
    noise = method.forecast.noise_frac(options) if method.forecast else 0.0
    size = grams.shape[1]
    norms2 = np.einsum("krr->kr", grams)
    dots, merged2, nominal2 = np.zeros((keys, size)), np.zeros(keys), np.zeros(keys)
    for k in range(keys):
        on = np.flatnonzero((weights[k] != 0.0) & (norms2[k, :count] > 0.0))
        found, nominal = [(1.0, np.zeros(0))], np.zeros(0)
        if len(on):
            some = GramRows(
                gram=grams[k][np.ix_(on, on)],
                alphas=weights[k, on],
                repeats=np.asarray(repeats, dtype=np.float64)[on],
                rotation_frac=float(data.rotation_frac[k]),
                side=data.side[k],
            )
            found, nominal = method.shares(some, options), method.nominal_weights(some, options)
        for share, part in found:
            full = np.zeros(size)
            full[on] = part
            if boost is not None and not copied[k]:
                full[-1] += boost[1]
            product = grams[k] @ full
            dots[k] += share * product
            merged2[k] += share * max(float(full @ product), 0.0)
        nominal2[k] = float(nominal**2 @ norms2[k, on])
        merged2[k] += noise * nominal2[k]
        if boost is not None and not copied[k]:
            nominal2[k] += boost[1] ** 2 * norms2[k, -1]
    return _Sums(dots[:, :count], norms2[:, :count], merged2, nominal2)


def _unknown(data: Reduced, grams: Floats, count: int) -> _Sums:
    """Sums of a method without a forecast: only the rows' own norms are known."""
    nothing = np.full(len(data.keys), np.nan)
    norms2 = np.einsum("krr->kr", grams)[:, :count]
    return _Sums(np.full_like(norms2, np.nan), norms2, nothing, nothing)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _cancellation(merged2: float, nominal2: float) -> float | None:
    return _number(1.0 - merged2 / nominal2) if nominal2 > 0 else None


def _row_figures(
    rows: Sequence[Row], problems: Sequence[str], grams: Floats, sums: _Sums
) -> tuple[RowForecast, ...]:
    total = grams.sum(axis=0)
    own, kept = sums.norms2.sum(axis=0), sums.dots.sum(axis=0)
    active = [r for r in range(len(rows)) if own[r] > 0 and not problems[r] and rows[r].active]
    figures = []
    for r, problem in enumerate(problems):
        if problem:
            figures.append(RowForecast(None, None, None, problem))
            continue
        others = [s for s in active if s != r] if own[r] > 0 else []
        news = [1.0 - min(1.0, total[r, s] ** 2 / (own[r] * own[s])) for s in others]
        figures.append(
            RowForecast(
                norm=float(np.sqrt(own[r])),
                new_information=float(np.mean(news)) if news else None,
                retention=_number(kept[r] / own[r]) if own[r] > 0 else None,
            )
        )
    return tuple(figures)


def _within(sums: _Sums, inside: NDArray[np.bool_]) -> _Sums:
    return _Sums(*(values[inside] for values in vars(sums).values()))


def _components(
    data: Reduced, sums: _Sums, problems: Sequence[str], part_of: Sequence[str]
) -> tuple[ComponentForecast, ...]:
    found = []
    for name in dict.fromkeys(part_of):
        inside = np.array([part == name for part in part_of], dtype=np.bool_)
        part, base = _within(sums, inside), float(np.sqrt(data.base_energy[inside].sum()))
        norm = _number(np.sqrt(part.merged2.sum()))
        found.append(
            ComponentForecast(
                component=name,
                norm=norm,
                base_share=norm / base if norm is not None and base > 0 else None,
                cancellation=_cancellation(part.merged2.sum(), part.nominal2.sum()),
                retention=_retention(part, problems),
            )
        )
    return tuple(found)


def _retention(sums: _Sums, problems: Sequence[str]) -> tuple[float | None, ...]:
    own, kept = sums.norms2.sum(axis=0), sums.dots.sum(axis=0)
    return tuple(
        _number(kept[r] / own[r]) if own[r] > 0 and not problem else None
        for r, problem in enumerate(problems)
    )


_NOTHING = ComponentForecast(DIFFUSION, 0.0, None, None, ())


def _blocks(data: Reduced, sums: _Sums, problems: Sequence[str]) -> tuple[BlockForecast, ...]:
    block_of = np.asarray(data.block_of, dtype=np.intp)
    found = []
    for b, name in enumerate(data.blocks):
        inside = block_of == b
        part = _within(sums, inside)
        merged2 = float(part.merged2.sum())
        cancelled = _cancellation(merged2, float(part.nominal2.sum()))
        retention = _retention(part, problems)
        found.append(BlockForecast(name, _number(merged2**0.5), cancelled, retention))
    return tuple(found)
