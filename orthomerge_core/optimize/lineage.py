"""Reports where another component suggests a different parent than the diffusion model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..analysis.result import Analysis
from ..keys.components import DIFFUSION, TEXT_ENCODER, component_label
from ..recipe.model import BASE
from .geometry import Geometry
from .proposal import Notice
from .tree import nearest_tree

__all__ = ["lineage_notices"]

NEARER = 0.5
"""A relative within this share of the distance to the chosen parent is another lineage."""


def lineage_notices(
    analysis: Analysis, parents: Mapping[str, str], enabled: Sequence[bool]
) -> tuple[Notice, ...]:
    """What the parents, chosen on the diffusion model, mean for text encoders and the VAE.

    Kind `lineage`: the nearest relative of a text encoder is another one than the chosen parent, at
    half the distance or less. Kind `component`: a row that is off, because its diffusion model
    changes nothing, changes another component. Touches no tensor; cost O(N²) per component.
    """
    said = []
    for component in analysis.components:
        if component == DIFFUSION:
            continue
        geometry = Geometry.of_analysis(analysis, component)
        if component.startswith(TEXT_ENCODER):
            said += list(_other_lineage(analysis.names, geometry, parents, enabled, component))
        said += list(_changed_alone(analysis, geometry, enabled, component))
    return tuple(said)


def _other_lineage(
    names: Sequence[str],
    geometry: Geometry,
    parents: Mapping[str, str],
    enabled: Sequence[bool],
    component: str,
) -> Iterator[Notice]:
    every, label, tree = (BASE, *names), component_label(component), nearest_tree(geometry)
    for i, name in enumerate(names, 1):
        if not enabled[i - 1]:
            continue
        parent = every.index(parents[name])
        nearest = int(tree[i])
        near, mine = np.sqrt(geometry.distance2[i, [nearest, parent]])
        if mine == 0.0 or near > NEARER * mine or _below(every, parents, nearest, name):
            continue
        closer = every[nearest]
        fix = "" if closer == BASE else f", or measure the row from {closer}"
        text = (
            f"{name}: its {label} comes from {_named(closer)}, its diffusion model from "
            f"{_named(parents[name])}. Its row would change that text encoder by the difference "
            f"to {_named(parents[name])}: set its text to 0{fix}."
        )
        yield Notice("lineage", (name, closer), text)


def _changed_alone(
    analysis: Analysis, geometry: Geometry, enabled: Sequence[bool], component: str
) -> Iterator[Notice]:
    norms = np.sqrt(np.clip(np.diagonal(analysis.delta_gram()), 0.0, None))
    for i, name in enumerate(analysis.names, 1):
        if enabled[i - 1] or norms[i] > 0.0 or geometry.distance2[i, 0] == 0.0:
            continue
        text = (
            f"{name} is off, since its diffusion model is the base's; but its "
            f"{component_label(component)} differs. Switch the row on to merge that."
        )
        yield Notice("component", (name,), text, (name,))


def _below(every: Sequence[str], parents: Mapping[str, str], node: int, name: str) -> bool:
    """Whether a node descends from `name` in the diffusion model."""
    here = every[node]
    while here != BASE:
        here = parents[here]
        if here == name:
            return True
    return False


def _named(name: str) -> str:
    return "the base" if name == BASE else name
