"""Models with another number of input channels: the shared channels are laid over the base."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.analysis.derive import derive
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.keys.align import align
from orthomerge_core.keys.content import model_content_hash
from orthomerge_core.keys.setspec import ModelSpec, SetSpec
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from tests.fakes import MemorySource
from tests.inventories import inventory, shrunk

FIRST = "input_blocks.0.0.weight"


def unet(channels=4, seed=0, base=None, dtype=torch.float32):
    """An SD 1.5 U-Net; with `base` a fine-tune of it, or its variant with more channels."""
    noise = torch.Generator().manual_seed(seed)
    shapes = shrunk(inventory("sd15"), 64)
    out = shapes[FIRST][0]
    shapes[FIRST] = (out, channels, 3, 3)
    found = {k: torch.randn(s, generator=noise) for k, s in shapes.items()}
    if base is not None:
        found = {k: base[k] + 0.1 * t if base[k].shape == t.shape else t for k, t in found.items()}
        kept = min(channels, base[FIRST].shape[1])
        if base[FIRST].shape[1] != channels:
            found[FIRST][:, :kept] = base[FIRST][:, :kept] + 0.1 * found[FIRST][:, :kept]
    return {k: t.to(dtype) for k, t in found.items()}


@pytest.fixture(scope="module")
def family():
    standard = unet()
    return {
        "standard": standard,
        "inpaint": unet(9, 1, standard),
        "tune": unet(4, 2, standard),
    }


def merged(family, base, rows, method="task_arithmetic", dtype="base"):
    names = list(dict.fromkeys(n for row in rows for n in (row.model, row.delta_from)))
    names = [name for name in names if name != "base"]
    sources = {name: MemorySource(f"{name}.safetensors", t) for name, t in family.items()}
    spec = SetSpec(
        ModelSpec("base", "base", source=sources[base]),
        tuple(ModelSpec(name, name, source=sources[name]) for name in names),
    )
    models = {name: ModelRef(name) for name in names}
    recipe = Recipe("base", models, tuple(rows), method=method, output_dtype=dtype)
    with plan_merge(recipe, spec) as plan:
        done = run_merge(plan)
        return done.state_dict, done.report, plan.notes


@pytest.mark.parametrize("method", ["task_arithmetic", "orthomerge", "ties"])
def test_add_difference_makes_an_inpainting_model_of_a_fine_tune(family, method):
    rows = [Row("tune", "standard")]
    found, report, notes = merged(family, "inpaint", rows, method)
    base, change = family["inpaint"], {}
    for key, weights in family["tune"].items():
        change[key] = weights.double() - family["standard"][key].double()
    assert torch.equal(found[FIRST][:, 4:], base[FIRST][:, 4:]) or method == "orthomerge"
    if method == "task_arithmetic":
        wanted = base[FIRST].double().clone()
        wanted[:, :4] += change[FIRST]
        torch.testing.assert_close(found[FIRST].double(), wanted, rtol=0, atol=1e-6)
        other = "out.2.weight"
        wanted = base[other].double() + change[other]
        torch.testing.assert_close(found[other].double(), wanted, rtol=0, atol=1e-6)
        assert report.retention["tune"] == pytest.approx(1.0, abs=1e-5)
    said = "has 4 input channels: they are merged into the first 4 of its 9, the others stay the"
    assert sum(said in note for note in notes) == 2
    assert not any("another shape" in note for note in report.notes)


def test_of_a_wider_model_the_bases_channels_are_merged(family):
    found, _, notes = merged(family, "standard", [Row("inpaint", alpha=0.5)])
    base, model = family["standard"][FIRST].double(), family["inpaint"][FIRST].double()
    wanted = base + 0.5 * (model[:, :4] - base)
    torch.testing.assert_close(found[FIRST].double(), wanted, rtol=0, atol=1e-6)
    assert "inpaint has 9 input channels: the first 4 of 9 are merged." in notes


@pytest.mark.parametrize(
    ("base", "model", "verdict"),
    [
        (
            "standard",
            "inpaint",
            "inpaint variant: 9 input channels, base has 4; the first 4 of 9 are merged",
        ),
        (
            "inpaint",
            "tune",
            "standard model: 4 input channels, base is the inpaint variant with 9; they are merged "
            "into the first 4 of its 9, the others stay the base's",
        ),
    ],
)
def test_the_verdict_says_so(family, base, model, verdict):
    sources = [MemorySource(name, family[name]) for name in (base, model)]
    report = align(sources[0], [("m", sources[1])]).models[0].report
    assert report.verdict == verdict
    assert report.mismatched == 0 and report.coverage_frac == 1.0


def test_the_analysis_measures_the_shared_channels(family):
    sources = {name: MemorySource(name, t) for name, t in family.items()}
    models = [("tune", sources["tune"]), ("standard", sources["standard"])]
    with align(sources["inpaint"], models) as aligned:
        found = analyze(aligned, rank_samples=0, threads=1, chunk_elements=4096)
        place = found.keys.index(FIRST)
        wanted = (family["tune"][FIRST] - family["inpaint"][FIRST][:, :4]).double().norm() ** 2
        assert found.gram[place, 1, 1] == pytest.approx(float(wanted), rel=1e-5)
        assert derive(found).coverage_frac.tolist() == [1.0, 1.0]
        hashes = {m.name: model_content_hash(m) for m in aligned.models}
    assert len(set(hashes.values())) == 2


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([torch.float32, torch.bfloat16]))
def test_any_piece_of_the_widened_layer_is_the_whole_ones(start, size, dtype):
    base, model = unet(9, 1, dtype=dtype), unet(4, 2, dtype=dtype)
    with align(MemorySource("b", base), [("m", MemorySource("m", model))]) as aligned:
        (found,) = aligned.models
        whole = base[FIRST].clone()
        whole[:, :4] = model[FIRST]
        assert torch.equal(found.read_raw(FIRST, tuple(whole.shape)), whole)
        flat = whole.float().reshape(-1)
        size = min(size, len(flat) - start)
        piece = torch.empty(size)
        found.read_into(FIRST, piece, start)
        assert torch.equal(piece, flat[start : start + size])
        assert model_content_hash(found) == model_content_hash(found)


def test_another_architectures_channels_are_no_channels():
    shapes = shrunk(inventory("sd35-medium"), 64)
    key = "x_embedder.proj.weight"
    base = {k: torch.randn(s) for k, s in shapes.items()}
    wide = dict(base)
    wide[key] = torch.randn(base[key].shape[0], base[key].shape[1] + 3, *base[key].shape[2:])
    report = align(MemorySource("b", base), [("m", MemorySource("m", wide))]).models[0].report
    assert report.mismatched == 1
