"""Groups of models: known families, the rule for their number, and the words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from orthomerge_core.analysis.clusters import clusters
from orthomerge_core.analysis.result import Analysis
from orthomerge_core.optimize.delta_base import optimize_parents
from orthomerge_core.optimize.settings import OptimizeSettings
from orthomerge_core.report.analysis_text import analysis_report
from tests.core.optimize.builders import analysis_of

KEYS = ("blocks.0.attn.weight", "blocks.0.mlp.weight", "blocks.1.attn.weight", "out.weight")
KINDS = ("attention", "mlp", "attention", "other")


def family(
    members: dict[str, int], shared: float = 1.0, seed: int = 0, size: int = 900
) -> Analysis:
    """Models named → group: a direction per group and tensor, and one of each model's own."""
    rng = np.random.default_rng(seed)
    base = [rng.standard_normal(size) for _ in KEYS]
    common = {g: [rng.standard_normal(size) for _ in KEYS] for g in sorted({*members.values()})}
    models = {
        name: [
            b + 0.05 * (shared * c + rng.standard_normal(size))
            for b, c in zip(base, common[group], strict=True)
        ]
        for name, group in members.items()
    }
    found = analysis_of(models, base, KEYS, ("blocks.0", "blocks.0", "blocks.1", "out"))
    return replace(found, layer_types=KINDS)


def grouped(analysis: Analysis) -> list[set[str]]:
    return [set(group) for group in clusters(analysis).groups]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_known_groups_are_found(seed: int, count: int) -> None:
    members = {f"g{g}m{i}": g for i in range(3) for g in range(count)}
    wanted = [{f"g{g}m{i}" for i in range(3)} for g in range(count)]
    assert grouped(family(members, seed=seed)) == wanted


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_models_are_one_group(seed: int) -> None:
    members = {f"m{i}": i for i in range(6)}
    found = clusters(family(members, seed=seed))
    assert len(found.groups) == 1
    assert found.silhouette == 0.0
    assert found.apart == ("",)


def test_an_odd_one_out_is_a_group_of_its_own() -> None:
    members = {"a": 0, "b": 0, "c": 0, "odd": 1}
    assert grouped(family(members)) == [{"a", "b", "c"}, {"odd"}]


def test_a_large_block_does_not_outvote_the_small_ones() -> None:
    """Alike in three small parts, apart in one of a hundred times their energy."""
    rng = np.random.default_rng(0)
    base = [rng.standard_normal(n) for n in (200, 200, 200, 20000)]
    common = [[rng.standard_normal(200) for _ in range(3)] for _ in range(2)]
    models = {}
    for name, group in (("a", 0), ("b", 0), ("c", 1), ("d", 1)):
        deltas = [*common[group], rng.standard_normal(20000)]
        models[name] = [b + 0.05 * d for b, d in zip(base, deltas, strict=True)]
    found = analysis_of(models, base, KEYS, ("blocks.0", "blocks.0", "blocks.1", "out"))
    assert grouped(replace(found, layer_types=KINDS)) == [{"a", "b"}, {"c", "d"}]


def test_figures_by_hand() -> None:
    base = [np.zeros(2)]
    models = {"a": [np.array([1.0, 0.0])], "b": [np.array([3.0, 4.0])], "c": [np.array([0.0, 2.0])]}
    found = clusters(analysis_of(models, base))
    np.testing.assert_allclose(found.similarity, [[1, 0.6, 0], [0.6, 1, 0.8], [0, 0.8, 1]])
    first, second = found.joins
    assert (first.left, first.right) == (("b",), ("c",))
    assert first.distance == pytest.approx(0.2)
    assert second.distance == pytest.approx((0.4 + 1.0) / 2)
    # two groups, silhouettes 0 of a, (0.4 − 0.2) / 0.4 of b, (1 − 0.2) / 1 of c
    assert found.groups == (("a",), ("b", "c"))
    assert found.silhouette == pytest.approx((0 + 0.5 + 0.8) / 3)


@pytest.mark.parametrize(("cosine", "groups"), [(0.6, 1), (0.4, 2)])
def test_two_models_are_one_group_above_a_half(cosine: float, groups: int) -> None:
    other = np.array([cosine, (1 - cosine**2) ** 0.5])
    analysis = analysis_of({"a": [np.array([1.0, 0.0])], "b": [other]}, [np.zeros(2)])
    assert len(clusters(analysis).groups) == groups


def test_a_model_equal_to_the_base_is_in_no_group() -> None:
    analysis = family({"a": 0, "b": 0, "c": 1, "d": 1})
    still = analysis.gram.copy()
    still[:, 4, :] = still[:, :, 4] = 0.0
    found = clusters(replace(analysis, gram=still))
    assert found.names == ("a", "b", "c")
    assert found.group_of("d") is None
    assert found.group_of("b") == 0


def test_it_says_where_a_group_changes_the_base() -> None:
    analysis = family({"a": 0, "b": 0, "c": 1, "d": 1})
    gram = analysis.gram.copy()
    for k, factor in (
        (1, 9.0),
        (0, 0.25),
    ):  # a and b: much in the first mlp, little in its attention
        for m in (1, 2):
            gram[k, m, :] *= factor**0.5
            gram[k, :, m] *= factor**0.5
    found = clusters(replace(analysis, gram=gram))
    assert found.groups == (("a", "b"), ("c", "d"))
    first, second = found.apart
    assert "% of the change in mlp (the others 2" in first
    assert "in attention (the others" in second


def test_json_and_report_tell_the_groups() -> None:
    analysis = family({"a": 0, "b": 0, "c": 1, "d": 1})
    told = json.loads(json.dumps(clusters(analysis).to_json()))
    assert told["groups"] == [["a", "b"], ["c", "d"]]
    text = analysis_report(analysis)
    assert "## Groups" in text
    assert "a and b" in text and "c and d" in text
    alone = analysis_report(family({f"m{i}": i for i in range(4)}))
    assert "The models are one group" in alone


def test_the_optimizer_keeps_one_of_each_group_only_where_it_is_told_to() -> None:
    analysis = family({"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}, shared=1.2)
    quality = [0.3, 0.6, 0.5, 0.9, 0.9]
    usual = optimize_parents(analysis, quality=quality)
    assert all(row.enabled for row in usual.rows)
    told = optimize_parents(analysis, OptimizeSettings(one_per_group=True), quality=quality)
    assert [row.model for row in told.rows if row.enabled] == ["b", "d"]
    info = {row.model: row.info for row in told.rows}
    assert info["a"] == "one of its group is enough: b stays"
    assert info["e"] == "one of its group is enough: d stays"
    assert {w.kind for w in told.warnings} == {"group"}
