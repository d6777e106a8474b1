import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from orthomerge_core import mecha
from orthomerge_core.errors import RecipeError
from orthomerge_core.mecha.limits import require_plain_files
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.mecha_family import SHAPES, recipe_for, write_models

sd_mecha = pytest.importorskip("sd_mecha")
pytestmark = pytest.mark.filterwarnings("ignore")  # sd-mecha and tqdm warn about their own things

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_models(tmp_path)
    mecha.register()  # as whoever runs an exported recipe does
    from sd_mecha.extensions import model_dirs

    monkeypatch.setattr(model_dirs, "_registry", [tmp_path])
    return tmp_path


def by_hand(folder, recipe):
    state = {
        n: {k: v.float() for k, v in load_file(folder / f"{n}.safetensors").items()}
        for n in ("base", *recipe.models)
    }
    out = {}
    for key, base in state["base"].items():
        models = {n: state[n][key] for n in recipe.models if key in state[n]}
        block = ".".join(key.split(".")[:2])
        out[key] = mecha.merge_tensor(recipe, key, block, base, models)
    return out


def run(folder, text):
    mecha.register()
    merged = sd_mecha.merge(sd_mecha.deserialize(text), output_dtype=torch.float32)
    return {k: v for k, v in merged.items() if k in SHAPES}


@pytest.mark.parametrize("method", sorted(all_methods()))
def test_the_exported_recipe_gives_our_tensors(folder, method):
    recipe = recipe_for(method)
    config = mecha.register_config(folder / "base.safetensors")
    merged = run(folder, mecha.recipe_text(recipe, config))
    expected = by_hand(folder, recipe)
    assert merged.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(merged[key], expected[key], rtol=0, atol=1e-6)


def test_adding_differences_needs_only_methods_of_sd_mecha(folder):
    rows = (Row("detail", alpha=0.8, repeat=2), Row("flash", delta_from="detail", alpha=0.5))
    recipe = recipe_for("task_arithmetic", rows=rows, texture_boost=TextureBoost("style", 0.3))
    text = mecha.recipe_text(recipe)
    assert mecha.METHOD not in text
    config = mecha.register_config(folder / "base.safetensors")
    merged = run(folder, mecha.recipe_text(recipe, config))
    for key, expected in by_hand(folder, recipe).items():
        torch.testing.assert_close(merged[key], expected, rtol=0, atol=1e-6)


def test_a_config_is_made_once_for_any_header(folder):
    first = mecha.register_config(folder / "base.safetensors")
    assert mecha.register_config(folder / "base.safetensors") == first
    from sd_mecha.extensions import model_configs

    keys = model_configs.resolve(first).keys()
    assert {k: tuple(v.shape) for k, v in keys.items()} == SHAPES


def test_the_script_runs_by_itself(folder):
    script = folder / "merge.py"
    script.write_text(mecha.script_text(recipe_for("average")), encoding="utf-8")
    out = folder / "out.safetensors"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(out), "fp32"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    merged = load_file(out)
    for key, expected in by_hand(folder, recipe_for("average")).items():
        torch.testing.assert_close(merged[key], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["orthomerge", "dare", "slerp"])
def test_our_method_comes_back_as_it_went(method):
    recipe = recipe_for(method, texture_boost=TextureBoost("style", 0.2))
    assert mecha.recipe_from_text(mecha.recipe_text(recipe)) == recipe


def test_sums_of_differences_become_rows():
    rows = (Row("detail", alpha=1.6), Row("flash", delta_from="detail", alpha=0.5))
    back = mecha.recipe_from_text(mecha.recipe_text(recipe_for("task_arithmetic", rows=rows)))
    assert back.base == "base.safetensors"
    assert back.method == "task_arithmetic"
    assert back.rows == rows
    assert {name: ref.file for name, ref in back.models.items()} == {
        "detail": "detail.safetensors",
        "flash": "flash.safetensors",
    }


def test_a_weighted_sum_and_ties_become_rows():
    a, b = sd_mecha.model("a.safetensors"), sd_mecha.model("b.safetensors")
    text = sd_mecha.serialize(sd_mecha.weighted_sum(a, b, alpha=0.3), finalize=False)
    assert mecha.recipe_from_text(text).rows == (Row("b", alpha=0.3),)
    deltas = [sd_mecha.subtract(m, a) for m in (b, sd_mecha.model("c.safetensors"))]
    add = sd_mecha.extensions.merge_methods.resolve("add_difference")
    ties = add(a, sd_mecha.ties_sum(*deltas, k=0.5), alpha=1.0)
    back = mecha.recipe_from_text(sd_mecha.serialize(ties, finalize=False))
    assert back.method == "ties"
    assert back.options == {"density": 0.5, "vote_by_size": False}
    assert [row.model for row in back.rows] == ["b", "c"]


def test_what_does_not_map_is_refused_by_name():
    a, b = sd_mecha.model("a.safetensors"), sd_mecha.model("b.safetensors")
    text = sd_mecha.serialize(sd_mecha.geometric_sum(a, b), finalize=False)
    with pytest.raises(RecipeError, match="uses geometric_sum, which has no place in a table"):
        mecha.recipe_from_text(text)
    for broken in ("", "hello", 'version 0.1.0\nmerge "nothing" &0'):
        with pytest.raises(RecipeError, match=r"no \.mecha recipe|cannot be read"):
            mecha.recipe_from_text(broken)


def test_a_model_without_a_file_is_named():
    recipe = recipe_for("average", models={})
    with pytest.raises(RecipeError, match='model "detail" has no file in the recipe'):
        mecha.recipe_text(recipe)


def test_a_base_in_plain_fp8_is_exported_as_bf16_as_we_write_it(tmp_path):
    write_models(tmp_path)
    base = load_file(tmp_path / "base.safetensors")
    save_file(
        {k: t.to(torch.float8_e4m3fn) for k, t in base.items()}, tmp_path / "base.safetensors"
    )
    found = require_plain_files(recipe_for("task_arithmetic"), tmp_path)
    assert found is torch.bfloat16
