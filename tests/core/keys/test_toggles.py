"""Every repair, alone: what it does when it is on, what it leaves when it is off, and its words.

The files lie on the disk and are read through the same function as in the nodes and in the shell.
"""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import CompatibilityError, HeaderError, UnsupportedError
from orthomerge_core.keys.opening import open_set
from orthomerge_core.keys.setspec import ModelSpec, Repairs, SetSpec
from tests.core.keys.small import sd3
from tests.inventories import diffusers_names, inventory, shrunk

NORM = "joint_blocks.0.x_block.attn.norm.query_norm"
LAYER = "joint_blocks.0.x_block.attn.qkv.weight"


def base_tensors():
    return {k: t.float() for k, t in sd3().items()} | {f"{NORM}.scale": torch.ones(4)}


def tuned():
    return {k: t + 0.5 for k, t in base_tensors().items()}


def prefixed():
    return {f"model.diffusion_model.{k}": t for k, t in tuned().items()}


def quantised():
    tensors = tuned()
    tensors[LAYER] = torch.full(tensors[LAYER].shape, 2.0).to(torch.float8_e4m3fn)
    return tensors | {LAYER.replace(".weight", ".scale_weight"): torch.tensor(0.25)}


def renamed_norms():
    tensors = tuned()
    tensors[f"{NORM}.weight"] = tensors.pop(f"{NORM}.scale")
    return tensors


def small_sd35():
    shapes = shrunk(inventory("sd35-medium"))
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(s, generator=generator) for k, s in shapes.items()}


def in_diffusers_names():
    tensors, found = small_sd35(), {}
    for key, (name, start, rows, swapped) in diffusers_names("diffusers-sd35-medium").items():
        if name in tensors:
            tensor = tensors[name] if rows is None else tensors[name][start // 64 :][: rows // 64]
            found[key] = torch.cat(tensor.chunk(2)[::-1]) if swapped else tensor.clone()
    return found


def stranger():
    return {"input_blocks.0.0.weight": torch.ones(3, 4, 3, 3)}


# toggle → (base, the broken model, a word of its report when on, what is left when off)
CASES = {
    "fix_prefixes": (base_tensors, prefixed, "prefix taken off", "misfit"),
    "dequantise": (base_tensors, quantised, "quantized layers read as float32", "misfit"),
    "fix_norm_names": (base_tensors, renamed_norms, "norm weights renamed", "1 missing"),
    "remap_diffusers": (small_sd35, in_diffusers_names, "diffusers names translated", "misfit"),
    "skip_misfits": (base_tensors, stranger, "other architecture", "error"),
}


def opened(folder, toggle, on):
    """The set with every repair but this one at its default."""
    base, broken, *_ = CASES[toggle]
    save_file(base(), folder / "base.safetensors")
    save_file(broken(), folder / "broken.safetensors")
    specs = [
        ModelSpec(n, f"{n}.safetensors", folder / f"{n}.safetensors") for n in ("base", "broken")
    ]
    spec = SetSpec(specs[0], (specs[1],), repairs=Repairs(**{toggle: on}))
    return open_set(spec, allow_empty=True)


def test_every_toggle_has_a_case():
    elsewhere = {"strip_text_encoder", "strip_vae", "use_ema"}  # see test_components
    assert set(CASES) == {field.name for field in fields(Repairs)} - elsewhere


@pytest.mark.parametrize("toggle", [t for t in CASES if t != "skip_misfits"])
def test_on_repairs_everything_in_the_reader(tmp_path, toggle):
    base, _, words, _ = CASES[toggle]
    with opened(tmp_path, toggle, True) as aligned:
        (model,) = aligned.models
        assert model.report.repairs == (toggle,)
        assert model.report.coverage_frac == 1.0 and model.report.extra == 0
        assert any(words in line for line in model.report.findings)
        expected = base() if toggle == "remap_diffusers" else tuned()
        if toggle == "dequantise":
            expected[LAYER] = torch.full(expected[LAYER].shape, 0.5)
        for key in aligned.keys:
            assert torch.equal(model.read_raw(key, aligned.shapes[key]), expected[key]), key


@pytest.mark.parametrize("toggle", [t for t in CASES if t != "skip_misfits"])
def test_off_leaves_exactly_that_unrepaired(tmp_path, toggle):
    left = CASES[toggle][3]
    with opened(tmp_path, toggle, False) as aligned:
        reports = [*(m.report for m in aligned.models), *aligned.skipped]
        assert len(reports) == 1 and toggle not in reports[0].repairs
        if left == "misfit":
            assert not reports[0].ok and aligned.models == ()
        else:
            assert reports[0].ok
            assert f"{reports[0].extra} extra" == left or f"{reports[0].missing} missing" == left


def test_files_are_never_touched(tmp_path):
    for toggle in CASES:
        folder = tmp_path / toggle
        folder.mkdir()
        opened(folder, toggle, True).close()
        before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
        with opened_again(folder, toggle) as aligned:
            for model in aligned.models:
                for key in model.segments:
                    model.read_into(key, torch.empty(aligned.numel(key)))
        after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
        assert after == before


def opened_again(folder, toggle):
    specs = [
        ModelSpec(n, f"{n}.safetensors", folder / f"{n}.safetensors") for n in ("base", "broken")
    ]
    return open_set(SetSpec(specs[0], (specs[1],)), allow_empty=True)


def test_misfits_are_skipped_or_stop_the_run(tmp_path):
    with opened(tmp_path, "skip_misfits", True) as aligned:
        assert [r.name for r in aligned.skipped] == ["broken"] and aligned.models == ()
        assert not aligned.skipped[0].ok
    with pytest.raises(CompatibilityError) as caught:
        opened(tmp_path, "skip_misfits", False)
    assert str(caught.value).startswith('1 of the models do not fit the base: "broken" is ')
    assert str(caught.value).endswith("switch skip_misfits on to go on without them.")


def test_a_model_that_cannot_be_read_is_left_out_with_its_reason(tmp_path):
    save_file(base_tensors(), tmp_path / "base.safetensors")
    save_file(tuned(), tmp_path / "good.safetensors")
    save_file({"l.qweight": torch.zeros(2)}, tmp_path / "gptq.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:-9])
    names = ("base", "good", "gptq", "cut")
    specs = [ModelSpec(n, f"{n}.safetensors", tmp_path / f"{n}.safetensors") for n in names]
    with open_set(SetSpec(specs[0], tuple(specs[1:]))) as aligned:
        assert [m.name for m in aligned.models] == ["good"]
        verdicts = {r.name: r.verdict for r in aligned.skipped}
    assert verdicts["gptq"] == (
        'not readable: "gptq.safetensors" is quantized by GPTQ, AWQ or nunchaku, which is not read '
        'here: "l.qweight". Use the BF16, FP8 or GGUF version of this model'
    )
    assert verdicts["cut"].startswith('not readable: "cut.safetensors" is truncated: expected')
    with pytest.raises(UnsupportedError, match="is quantized by GPTQ"):
        open_set(SetSpec(specs[0], tuple(specs[1:]), repairs=Repairs(skip_misfits=False)))
    with pytest.raises(
        CompatibilityError, match='no model fits the base: "gptq" is not readable: '
    ):
        open_set(SetSpec(specs[0], (specs[2],)))
    with pytest.raises(HeaderError, match=r'"cut\.safetensors" is truncated'):
        open_set(SetSpec(specs[3], (specs[1],)))
