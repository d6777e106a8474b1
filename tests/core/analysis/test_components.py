"""Checkpoints: every component is measured by itself, and totals are the diffusion model's."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.analysis.codec import dumps, from_json, to_json
from orthomerge_core.analysis.derive import derive
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.forecast.forecast import forecast, reduce_for_table
from orthomerge_core.keys.components import is_schedule
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.optimize.delta_base import optimize_parents
from orthomerge_core.optimize.proposal import proposal_recipe
from orthomerge_core.recipe.model import Row, VaeChoice
from orthomerge_core.report.analysis_plots import heatmaps
from orthomerge_core.report.analysis_text import analysis_report
from tests.checkpoints import checkpoint

PREFIX = {
    "diffusion": "model.diffusion_model.",
    "text_encoder.l": "conditioner.embedders.0.",
    "text_encoder.g": "conditioner.embedders.1.",
    "vae": "first_stage_model.",
}


KEPT = re.compile(
    r"input_blocks\.(?:0|4\.1\.transformer_blocks\.0)\.|label_emb|diffusion_model\.out\.|"
    r"(?:layers|resblocks)\.[0-7]\.mlp|ln_final|final_layer_norm|decoder\.conv_|decoder\.mid"
)


def changed(parent, seed, size):
    """A fine-tune: every tensor plus noise."""
    noise = torch.Generator().manual_seed(seed)
    return {k: t + size * torch.randn(t.shape, generator=noise) for k, t in parent.items()}


def part(tensors, component):
    """The float64 weights of a component, one after the other."""
    keys = [k for k, t in tensors.items() if k.startswith(PREFIX[component])]
    kept = [k for k in keys if tensors[k].is_floating_point() and not is_schedule(k)]
    return torch.cat([torch.zeros(0), *(tensors[k].double().reshape(-1) for k in kept)])


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """SDXL: a and its child, whose encoder L is the base's; tagger changes encoder G alone."""
    folder = tmp_path_factory.mktemp("parts")
    whole = checkpoint("sdxl", factor=128, dtype=torch.float32)
    base = {key: tensor for key, tensor in whole.items() if KEPT.search(key)}
    a = changed(base, 1, 0.01)
    child = changed(a, 2, 0.004)
    child |= {k: t for k, t in base.items() if k.startswith(PREFIX["text_encoder.l"])}
    tagger = dict(base)
    for key, tensor in a.items():
        if key.startswith(PREFIX["text_encoder.g"]):
            tagger[key] = tensor.clone()
    bare = {k: t for k, t in a.items() if not k.startswith(PREFIX["text_encoder.g"])}
    models = {"base": base, "a": a, "bare": bare, "child": child, "tagger": tagger}
    for name, tensors in models.items():
        save_file({k: t.contiguous() for k, t in tensors.items()}, folder / f"{name}.safetensors")
    spec = spec_from_paths(
        folder / "base.safetensors", [folder / f"{n}.safetensors" for n in models if n != "base"]
    )
    with open_set(spec) as aligned:
        return folder, spec, models, analyze(aligned, rank_samples=2, threads=1)


@pytest.mark.parametrize("component", list(PREFIX))
def test_change_and_cosine_are_those_of_float64(family, component):
    _, _, models, analysis = family
    found = derive(analysis, analysis.keys_in(component))
    base = part(models["base"], component)
    deltas = []
    for name in analysis.names:
        own = part(models[name], component)
        deltas.append(own - base if len(own) == len(base) else torch.zeros_like(base))
    for i, delta in enumerate(deltas):
        wanted = float(delta.norm() / base.norm())
        assert found.relative_norm[i] == pytest.approx(wanted, rel=1e-5, abs=1e-12)
        for j, other in enumerate(deltas[:i]):
            scale = float(delta.norm() * other.norm())
            cosine = float(delta @ other) / scale if scale else 0.0
            assert found.cosine[i, j] == pytest.approx(cosine, abs=1e-4)


def test_totals_are_those_of_the_diffusion_model_alone(family):
    _, spec, _, analysis = family
    with open_set(replace(spec, components="diffusion")) as aligned:
        alone = to_json(analyze(aligned, rank_samples=2, threads=1))
    whole = to_json(analysis)
    assert analysis.components == tuple(PREFIX)
    for name in ("delta_norm", "cosine", "conflict_ratio", "quality", "survival", "base_norm"):
        assert whole[name] == alone[name], name
        assert whole["components"]["diffusion"][name] == alone[name], name
    assert whole["content_hashes"] == alone["content_hashes"]
    assert whole["layer_types"] == alone["layer_types"]
    assert {k: v for k, v in whole["blocks"].items() if k in alone["blocks"]} == alone["blocks"]
    layers = [b for b in whole["blocks"] if b.startswith("text_encoder.l.layers.")]
    assert sorted(layers) == sorted(f"text_encoder.l.layers.{i}" for i in range(8))
    place = whole["names"].index("a")
    shares = [v["energy_frac"][place] for k, v in whole["blocks"].items() if "encoder.l" in k]
    assert sum(shares) == pytest.approx(1.0)


def test_json_goes_there_and_back(family):
    *_, analysis = family
    again = from_json(json.loads(dumps(analysis)))
    assert again.components == analysis.components
    assert to_json(again)["components"] == to_json(analysis)["components"]


def test_quality_of_each_component_rests_on_its_own_matrices(family):
    *_, analysis = family
    sampled = {spectrum.key.split(".")[0] for spectrum in analysis.spectra}
    assert {"text_encoder", "vae"} <= sampled and len(analysis.spectra) == 8
    quality = to_json(analysis)["components"]["text_encoder.g"]["quality"]
    assert quality[analysis.names.index("a")] is not None


def test_the_optimizer_chooses_on_the_diffusion_model_and_reports_other_lineages(family):
    *_, analysis = family
    proposal = optimize_parents(analysis)
    assert proposal.parents["child"] in ("a", "bare")
    said = {w.kind: w for w in proposal.warnings}
    assert said["lineage"].models == ("child", "base")
    assert said["lineage"].text.startswith(
        "child: its text encoder L (CLIP ViT-L) comes from the base, its diffusion model from "
    )
    assert said["component"].models == ("tagger",) and said["component"].enable == ("tagger",)
    assert "text encoder G (CLIP ViT-bigG) differs" in said["component"].text
    info = {row.model: row.info for row in proposal.rows}
    assert info["tagger"] == "its diffusion model is the base's"
    assert not any(w.kind == "null" and w.models[0] == "tagger" for w in proposal.warnings)


def test_the_report_has_a_section_per_component(family):
    *_, analysis = family
    text = analysis_report(analysis)
    for title in ("## Text encoder L (CLIP ViT-L)", "## Text encoder G (CLIP ViT-bigG)", "## VAE"):
        assert title in text
    assert "**Suspicious**: child: its text encoder L (CLIP ViT-L) comes from the base" in text
    section = text.split("## Text encoder G (CLIP ViT-bigG)")[1].split("##")[0]
    assert "| bare | not in the file |" in section
    assert "| a and tagger | 1.000 |" in section


def test_the_picture_has_a_panel_per_component(family):
    *_, analysis = family
    pytest.importorskip("matplotlib")
    assert heatmaps(analysis).shape[1] == 1024


@pytest.mark.parametrize("method", ["task_arithmetic", "average", "orthogonal_projection"])
@pytest.mark.parametrize("vae", ["base", "merge"])
def test_the_forecast_is_what_the_merge_measures_in_every_component(family, method, vae):
    folder, _, _, analysis = family
    rows = (
        Row("a", alpha=0.5, text=(0.3, 0.6)),
        Row("tagger", alpha=0.8, text=0.0),
        Row("child", alpha=0.4, layers="text_encoder.l.layers.0-5=0.5"),
    )
    recipe = proposal_recipe(analysis, optimize_parents(analysis), method)
    recipe = replace(recipe, rows=rows, vae=VaeChoice(vae))
    spec = spec_from_recipe(recipe, FolderResolver([folder]))
    with plan_merge(recipe, spec) as plan:
        report = run_merge(plan).report
    found = forecast(reduce_for_table(analysis), rows, method, recipe.options, vae=vae)
    assert found.norm == pytest.approx(report.delta_norm, rel=1e-5)
    for share in found.components:
        if share.component == "vae" and vae == "base":
            assert set(share.retention) <= {0.0, None}
            continue
        measured = list(report.retention_by_component[share.component].values())
        for ours, theirs in zip(share.retention, measured, strict=True):
            assert (ours or 0.0) == pytest.approx(theirs or 0.0, abs=1e-4), share.component
    assert not np.isnan(found.norm)
