"""Copies of one model in several formats are told from models that hold something of their own."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.analysis.codec import dumps, from_json
from orthomerge_core.analysis.derive import derive
from orthomerge_core.analysis.rounding import Rounding
from orthomerge_core.analysis.select import select
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.keys.opening import open_set
from orthomerge_core.keys.setspec import ModelSpec, SetSpec
from orthomerge_core.optimize.delta_base import optimize_parents
from orthomerge_core.report.findings import suspicions

CHANGE = 0.03
FORMATS = ["F16", "BF16", "F8", "F8_SCALED", "Q8_0", "Q4_0"]


def tensors(seed, base=None, change=CHANGE):
    g = torch.Generator().manual_seed(seed)
    drawn = {f"block.{i}.weight": 0.04 * torch.randn(64, 128, generator=g) for i in range(6)}
    return drawn if base is None else {k: base[k] + change * t for k, t in drawn.items()}


def stored(path, weights, form):
    """Written in a format; the suffix follows from it."""
    if form.startswith("Q"):
        gguf = pytest.importorskip("gguf")
        kind, path = gguf.GGMLQuantizationType[form], path.with_suffix(".gguf")
        writer = gguf.GGUFWriter(str(path), "flux")
        for key, value in weights.items():
            writer.add_tensor(key, gguf.quantize(value.numpy(), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path
    out, path = {}, path.with_suffix(".safetensors")
    for key, value in weights.items():
        scale = value.abs().max() / 448 if form == "F8_SCALED" else torch.tensor(1.0)
        kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        out[key] = (value / scale).to(kinds.get(form, torch.float8_e4m3fn))
        if form == "F8_SCALED":
            out[f"{key}_scale"] = scale
    save_file(out, str(path))
    return path


def analysis_of(folder, base, **models):
    files = {name: stored(folder / name, *what) for name, what in {"base": base, **models}.items()}
    specs = [ModelSpec(n, p.name, p) for n, p in files.items() if n != "base"]
    spec = SetSpec(ModelSpec("base", files["base"].name, files["base"]), tuple(specs))
    with open_set(spec) as aligned:
        return analyze(aligned, rank_samples=0)


@pytest.mark.parametrize("form", FORMATS)
def test_a_copy_of_the_base_in_another_format_is_off(tmp_path, form):
    base = tensors(0)
    found = analysis_of(tmp_path, (base, "F32"), copy=(base, form), tune=(tensors(1, base), "F32"))
    rows = {row.model: row for row in optimize_parents(found).rows}
    assert not rows["copy"].enabled
    assert rows["copy"].info.startswith("copy of the base: the two differ only by the rounding")
    assert rows["tune"].enabled


@pytest.mark.parametrize("form", ["BF16", "F8_SCALED", "Q8_0"])
def test_of_one_model_in_two_formats_the_exact_one_stays(tmp_path, form):
    base = tensors(0)
    tune = tensors(1, base)
    found = analysis_of(tmp_path, (base, "F32"), coarse=(tune, form), exact=(tune, "F32"))
    rows = {row.model: row for row in optimize_parents(found).rows}
    assert rows["exact"].enabled
    assert not rows["coarse"].enabled
    assert rows["coarse"].info.startswith("copy of exact")


@pytest.mark.parametrize(("form", "change"), [("BF16", 0.004), ("F8_SCALED", 0.03), ("F8", 0.1)])
def test_a_fine_tune_as_small_as_a_fraction_of_the_step_is_no_copy(tmp_path, form, change):
    base = tensors(0)
    found = analysis_of(tmp_path, (base, "F32"), tune=(tensors(1, base, change), form))
    assert optimize_parents(found).rows[0].enabled


def test_one_changed_tensor_among_many_makes_a_model_of_its_own(tmp_path):
    base = tensors(0)
    other = dict(base) | {"block.3.weight": tensors(1, base)["block.3.weight"]}
    found = analysis_of(tmp_path, (base, "F32"), other=(other, "F8_SCALED"))
    assert found.rounding.copies == ()
    assert optimize_parents(found).rows[0].enabled


def test_the_share_of_rounding_is_measured_and_told(tmp_path):
    base = tensors(0)
    tune = tensors(1, base, 0.05)
    found = analysis_of(tmp_path, (base, "F32"), tune=(tune, "F8_SCALED"))
    kept = {
        k: (t / (s := t.abs().max() / 448)).to(torch.float8_e4m3fn).float() * s
        for k, t in tune.items()
    }
    noise = sum(float((kept[k] - tune[k]).square().sum()) for k in tune)
    change = sum(float((kept[k] - base[k]).square().sum()) for k in tune)
    assert found.rounding.frac[0] == pytest.approx(noise / change, rel=0.1)
    texts = [doubt.text for doubt in suspicions(found, derive(found), optimize_parents(found))]
    assert any(t.startswith("tune: about ") and "rounding of its stored format" in t for t in texts)


def test_it_survives_json_and_selection(tmp_path):
    base = tensors(0)
    tune = tensors(1, base)
    models = {"a": (base, "F8"), "b": (tune, "F8_SCALED"), "c": (tune, "BF16")}
    found = analysis_of(tmp_path, (base, "F32"), **models)
    back = from_json(json.loads(dumps(found))).rounding
    assert back.copies == found.rounding.copies == ((0, 1), (2, 3))
    assert np.allclose(back.step, found.rounding.step, rtol=1e-5)
    part = select(found, [2, 1]).rounding
    assert part.copies == ((1, 2),)
    assert part.step.tolist() == found.rounding.step[[0, 3, 2]].tolist()


def test_models_far_from_all_rounding_are_not_read_again(tmp_path):
    base = tensors(0)
    found = analysis_of(tmp_path, (base, "BF16"), tune=(tensors(1, base), "BF16"))
    assert found.rounding == Rounding((), found.rounding.step, found.rounding.frac)
    assert found.rounding.step.tolist() == [0.0, 0.0]
