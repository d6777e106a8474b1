"""From files to figures: the forecast equals what the merge measures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.analysis.result import Analysis
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.execute.output.report import MergeReport
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.forecast.forecast import forecast, reduce_for_table
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.keys.setspec import SetSpec
from orthomerge_core.optimize.delta_base import optimize_parents
from orthomerge_core.optimize.proposal import proposal_recipe
from orthomerge_core.recipe.model import Row, TextureBoost

ROWS = (
    Row("ink", alpha=0.9, layers="blocks.0=0.5"),
    Row("ink-fine", "ink", repeat=2),
    Row("photo", "ink", alpha=-0.4),
    Row("paint"),
)
BOOST = TextureBoost("paint", 0.2)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[SetSpec, Analysis]:
    """bf16 files: a child of a child that shares a tensor, a model without a key, another."""
    folder = tmp_path_factory.mktemp("family")
    torch.manual_seed(0)
    shapes = {"blocks.0.w": (48, 32), "blocks.0.b": (48,), "blocks.1.w": (16, 40), "out.w": (8, 8)}
    base = {k: torch.randn(s) for k, s in shapes.items()}

    def step(parent: dict[str, torch.Tensor], size: float) -> dict[str, torch.Tensor]:
        return {k: v + size * torch.randn_like(v) for k, v in parent.items()}

    ink = step(base, 0.1)
    fine = step(ink, 0.06) | {"blocks.1.w": ink["blocks.1.w"]}
    photo = {k: v for k, v in step(base, 0.1).items() if k != "out.w"}
    models = {"base": base, "ink": ink, "ink-fine": fine, "paint": step(base, 0.1), "photo": photo}
    for name, weights in models.items():
        stored = {k: v.bfloat16().contiguous() for k, v in weights.items()}
        save_file(stored, folder / f"{name}.safetensors")
    others = [folder / f"{name}.safetensors" for name in models if name != "base"]
    spec = spec_from_paths(folder / "base.safetensors", others)
    with open_set(spec) as aligned:
        return spec, analyze(aligned, rank_samples=2, threads=1)


def merged(
    studied: tuple[SetSpec, Analysis], rows: tuple[Row, ...], method: str, options: dict[str, Any]
) -> MergeReport:
    spec, analysis = studied
    recipe = proposal_recipe(analysis, optimize_parents(analysis), method, options)
    recipe = replace(recipe, rows=rows, texture_boost=BOOST)
    with plan_merge(recipe, spec) as plan:
        return run_merge(plan).report


@pytest.mark.parametrize(
    ("method", "options", "tolerance"),
    [
        ("task_arithmetic", {}, 1e-5),
        ("average", {}, 1e-5),
        ("orthogonal_projection", {"variant": "sequential"}, 1e-5),
        ("orthogonal_projection", {"variant": "symmetric"}, 1e-5),
        ("orthomerge", {}, 0.1),
        ("orthomerge", {"theta_agg": "max", "residual_agg": "sum"}, 0.3),
        ("geometric_median", {}, 0.03),
        ("dare", {"drop": 0.5}, 0.15),
        ("della", {"drop": 0.3}, 0.15),
    ],
)
def test_forecast_equals_the_measured_figures(
    studied: tuple[SetSpec, Analysis], method: str, options: dict[str, Any], tolerance: float
) -> None:
    report = merged(studied, ROWS, method, options)
    foreseen = forecast(reduce_for_table(studied[1]), ROWS, method, options, BOOST)
    assert foreseen.exact == (tolerance == 1e-5)
    assert foreseen.norm == pytest.approx(report.delta_norm, rel=tolerance)
    measured = zip(foreseen.rows, report.retention.values(), strict=True)
    for row, share in measured:
        assert row.retention == pytest.approx(share, abs=tolerance)
    for r, shares in enumerate(report.retention_by_block.values()):
        for block in foreseen.blocks:
            if tolerance < 1e-3:
                assert block.retention[r] == (
                    None
                    if shares[block.block] is None
                    else pytest.approx(shares[block.block], abs=tolerance)
                )


def test_ancestry_is_found_in_files(studied: tuple[SetSpec, Analysis]) -> None:
    proposal = optimize_parents(studied[1])
    assert proposal.parents == {
        "ink": "base",
        "ink-fine": "ink",
        "paint": "base",
        "photo": "base",
    }
