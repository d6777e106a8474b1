"""Every method, option and output dtype: what sd-mecha makes of our exports in a fresh process.

One process runs all `.mecha` texts and all scripts; each result is compared with our executor's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from orthomerge_core import mecha
from orthomerge_core.errors import PlanError, UnsupportedError
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.params import Param
from orthomerge_core.recipe.codec import dumps
from orthomerge_core.recipe.model import Recipe, Row, TextureBoost
from tests.core.mecha_family import SHAPES, recipe_for, write_models

pytest.importorskip("sd_mecha")

ROOT = Path(__file__).resolve().parents[2]
DTYPES = ("base", "bf16", "fp16", "fp32")
RUNNER = """
import json, runpy, sys
from pathlib import Path
import sd_mecha, torch
from sd_mecha.extensions import model_dirs
from orthomerge_core import mecha
folder = Path(sys.argv[1])
model_dirs.add_path(folder)
mecha.register()
mecha.register_config(folder / "base.safetensors")
kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
for job in json.loads((folder / "jobs.json").read_text()):
    out = folder / job["out"]
    if job["file"].endswith(".mecha"):
        graph = sd_mecha.deserialize((folder / job["file"]).read_text())
        kind = kinds.get(job["dtype"], torch.bfloat16)
        sd_mecha.merge(graph, output=out, output_dtype=kind, threads=0)
    else:
        sys.argv[1:] = [str(folder), str(out)]
        runpy.run_path(str(folder / job["file"]), run_name="__main__")
"""


def variants() -> dict[str, Recipe]:
    """Every method with every value of a choice or flag, and another value of each number."""
    found = {}
    for name, method in sorted(all_methods().items()):
        options = [{}]
        for param in method.params:
            values = other_values(param)
            options += [{param.name: v} for v in values if v != param.default]
        for chosen in options:
            words = "-".join(f"{k}={v}" for k, v in chosen.items())
            found[f"{name} {words}".strip()] = recipe_for(name, options=chosen)
    found["average texture"] = replace(
        recipe_for("average"), texture_boost=TextureBoost("style", 0.3)
    )
    found["task_arithmetic plain"] = replace(
        recipe_for("task_arithmetic"), rows=(Row("detail", alpha=0.7), Row("flash", "detail", 0.5))
    )
    return found


def other_values(param: Param) -> tuple:
    """All of a choice; both ends of a range, or as far as a small tensor cares."""
    if param.kind == "choice":
        return param.choices
    if param.kind == "flag":
        return (True, False)
    low = 0 if param.minimum is None else param.minimum
    high = 16 if param.maximum is None else min(param.maximum, 16)
    return (low, high, (low + high) // 2) if param.kind == "integer" else (low, 0.4 * high)


RECIPES = variants()
# The cast comes after the method: other options are seen in the base's bf16 and in float32.
CASES = [
    (name, dtype)
    for name, recipe in RECIPES.items()
    for dtype in DTYPES
    if not recipe.options or dtype in ("base", "fp32")
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A folder with the models, and `<number>-<dtype>.{mecha,py}.safetensors` of every job."""
    folder = tmp_path_factory.mktemp("mecha")
    write_models(folder)
    jobs = []
    config = mecha.register_config(folder / "base.safetensors")
    for number, (name, dtype) in enumerate(CASES):
        asked = replace(RECIPES[name], output_dtype=dtype)
        texts = {"mecha": mecha.recipe_text(asked, config)}
        if scripted(asked):
            texts["py"] = mecha.script_text(asked)
        for ending, text in texts.items():
            file = f"{number}.{ending}"
            (folder / file).write_text(text, encoding="utf-8")
            jobs.append({"file": file, "out": f"{file}.safetensors", "dtype": dtype})
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def scripted(recipe: Recipe) -> bool:
    """Scripts differ from `.mecha` in how they choose the dtype: all dtypes once per method."""
    return recipe.output_dtype == "base" or not recipe.options


def ours(recipe: Recipe, folder: Path, dtype: str) -> dict[str, torch.Tensor]:
    spec = spec_from_recipe(recipe, FolderResolver([folder]))
    with plan_merge(recipe, spec, output_dtype=dtype) as plan:
        return run_merge(plan).state_dict


def units_apart(a: torch.Tensor, b: torch.Tensor, terms: Sequence[torch.Tensor]) -> float:
    """The largest distance in units of the dtype, at the size of the largest of result and terms.

    A result near zero has cancelled from terms whose last digit is what counts.
    """
    sizes = torch.stack([a.double().abs(), *(term.double().abs() for term in terms)])
    exponent = torch.floor(torch.log2(sizes.amax(dim=0).clamp_min(1e-30)))
    unit = torch.exp2(exponent) * torch.finfo(a.dtype).eps
    return float(((a.double() - b.double()).abs() / unit).max())


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_sd_mecha_gives_our_tensors_within_one_unit(ran, name, dtype):
    number, expected = CASES.index((name, dtype)), ours(RECIPES[name], ran, dtype)
    models = [load_file(ran / f"{n}.safetensors") for n in ("base", *RECIPES[name].models)]
    files = sorted(ran.glob(f"{number}.*.safetensors"))
    assert files
    for file in files:
        theirs = load_file(file)
        assert theirs.keys() == expected.keys() == SHAPES.keys()
        for key, tensor in expected.items():
            assert theirs[key].dtype == tensor.dtype and theirs[key].shape == tensor.shape
            terms = [model[key] for model in models if key in model]
            assert units_apart(tensor, theirs[key], terms) <= 1, key


def test_the_ruler_measures_in_units():
    one = torch.tensor([1.0, -1.0, 0.0], dtype=torch.bfloat16)
    step, two = (torch.tensor([1 + n / 128, -1.0, 0.0]).bfloat16() for n in (1, 2))
    assert [units_apart(one, other, [one]) for other in (one, step, two)] == [0, 1, 2]
    assert units_apart(torch.zeros(1), torch.full((1,), 2.0**-23), [torch.ones(1)]) == 1


def test_every_method_is_there_and_changes_the_base_unless_an_option_is_zero(ran):
    assert {name.split()[0] for name in RECIPES} == set(all_methods())
    base, unchanged = load_file(ran / "base.safetensors"), []
    for number, (name, dtype) in enumerate(CASES):
        if dtype != "base":
            continue
        merged = load_file(ran / f"{number}.py.safetensors")
        if all(torch.equal(merged[k], base[k]) for k in SHAPES):
            unchanged.append(name)
    assert [name for name in unchanged if not name.endswith(("=0", "=0.0"))] == []


class TestRefusals:
    """What sd-mecha cannot say is said before it runs."""

    def test_fp8_with_scales(self, tmp_path):
        recipe = replace(recipe_for("average"), output_dtype="fp8_e4m3fn")
        with pytest.raises(UnsupportedError) as caught:
            mecha.script_text(recipe)
        assert str(caught.value).startswith("sd-mecha writes no scales, so it cannot store fp8")
        assert "one of base, bf16, fp16, fp32" in str(caught.value)

    def test_a_base_of_several_dtypes(self, tmp_path):
        write_models(tmp_path)
        base = load_file(tmp_path / "base.safetensors")
        base["final.scale"] = base["final.scale"].float()
        save_file(base, tmp_path / "base.safetensors")
        recipe = recipe_for("average")
        with pytest.raises(PlanError, match=r"the base has several: received BF16, F32\. Name"):
            mecha.require_plain_files(recipe, tmp_path)
        assert mecha.require_plain_files(recipe, tmp_path, "fp16") is torch.float16

    def test_everything_that_is_not_plain_comes_at_once(self, tmp_path):
        write_models(tmp_path)
        base = load_file(tmp_path / "base.safetensors")
        base["step"] = torch.tensor([3])
        save_file(base, tmp_path / "base.safetensors")
        detail = load_file(tmp_path / "detail.safetensors")
        prefixed = {f"model.diffusion_model.{k}": v for k, v in detail.items()}
        save_file(prefixed, tmp_path / "detail.safetensors")
        scaled = load_file(tmp_path / "style.safetensors")
        key = "double_blocks.0.img_attn.qkv.weight"
        scaled[key] = scaled[key].to(torch.float8_e4m3fn)
        scaled[key.replace("weight", "scale_weight")] = torch.tensor(0.5)
        scaled["scaled_fp8"] = torch.empty(2, dtype=torch.float8_e4m3fn)
        save_file(scaled, tmp_path / "style.safetensors")
        with pytest.raises(PlanError) as caught:
            mecha.require_plain_files(recipe_for("average"), tmp_path)
        text = str(caught.value)
        assert '"base.safetensors" holds tensors that are not weights' in text
        assert '"detail.safetensors" names its tensors in another way' in text
        assert '"style.safetensors" is quantized, and sd-mecha reads no scales' in text
        assert "(and 2 more problems)" in text and str(tmp_path) not in text

    def test_the_script_says_so_in_one_line(self, tmp_path):
        write_models(tmp_path)
        base = load_file(tmp_path / "base.safetensors") | {"step": torch.tensor([3])}
        save_file(base, tmp_path / "base.safetensors")
        (tmp_path / "recipe.json").write_text(dumps(recipe_for("average")), encoding="utf-8")
        script = tmp_path / "merge.py"
        script.write_text(mecha.script_text(recipe_for("average")), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(tmp_path), str(tmp_path / "o.sft")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith('"base.safetensors" holds tensors that are not weights')
        assert not (tmp_path / "o.sft").exists()
