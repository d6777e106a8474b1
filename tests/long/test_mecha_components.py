"""Full checkpoints in sd-mecha, with its own configs of SD 1 and SDXL: the same tensors."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from orthomerge_core import mecha
from orthomerge_core.errors import PlanError, UnsupportedError
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.recipe import codec
from tests.checkpoints import checkpoint

sd_mecha = pytest.importorskip("sd_mecha")
pytestmark = pytest.mark.filterwarnings("ignore")  # sd-mecha and tqdm warn about their own things

CONFIGS = {"sd15": "sd1-ldm", "sdxl": "sdxl-sgm"}


@pytest.fixture(scope="module", params=list(CONFIGS))
def folder(request, tmp_path_factory):
    """A base, two fine-tunes and the first without its prefix's text encoder, by architecture."""
    mecha.register()
    folder = tmp_path_factory.mktemp(request.param)
    base = checkpoint(request.param, factor=128)
    save_file(base, folder / "base.safetensors")
    for seed, name in enumerate(("a", "b"), 1):
        tuned = checkpoint(request.param, seed, base=base, factor=128)
        save_file(tuned, folder / f"{name}.safetensors")
    return request.param, folder


def recipe_of(rows, method="task_arithmetic", **fields):
    names = dict.fromkeys(row["model"] for row in rows)
    models = {name: {"file": f"{name}.safetensors"} for name in names}
    body = {"base": "base.safetensors", "models": models, "rows": rows, "method": method}
    return codec.from_json(body | fields)


def ours(folder, recipe):
    spec = spec_from_recipe(recipe, FolderResolver([folder]))
    path = folder / "out.safetensors"
    with plan_merge(recipe, spec, target=path, overwrite=True, output_dtype="base") as plan:
        run_merge(plan)
    with safe_open(path, "pt") as file:
        return load_file(path), file.metadata()


def theirs(folder, node, monkeypatch):
    from sd_mecha.extensions import model_dirs

    monkeypatch.setattr(model_dirs, "_registry", [folder])
    return sd_mecha.merge(
        node,
        output_dtype=torch.float16,
        check_finite_output=False,
        omit_non_finite_inputs=False,
        strict_mandatory_keys=False,
    )


def same(found, wanted):
    assert set(found) >= set(wanted)
    for key, tensor in wanted.items():
        value = found[key]
        torch.testing.assert_close(value.float(), tensor.float(), rtol=1.5e-3, atol=1e-6, msg=key)


ROWS = [
    {"model": "a", "alpha": 0.5, "text": [0.3, 0.6], "layers": "IN00=0, OUT00-03=0.5"},
    {"model": "b", "alpha": 0.4, "repeat": 2, "text": 0},
]


@pytest.mark.parametrize(
    ("config", "method", "fields"),
    [
        ("own", "task_arithmetic", {"strength": 0.5}),
        ("registered", "average", {"vae": "merge"}),
        ("own", "orthogonal_projection", {"vae": "b"}),
    ],
)
def test_an_exported_recipe_gives_our_checkpoint(folder, config, method, fields, monkeypatch):
    architecture, path = folder
    recipe = recipe_of(ROWS, method, **fields)
    wanted, _ = ours(path, recipe)
    name = CONFIGS[architecture]
    if config == "registered":
        name = mecha.register_config(path / "base.safetensors")
    text = mecha.recipe_text(recipe, name, native=False)
    same(theirs(path, sd_mecha.deserialize(text), monkeypatch), wanted)
    assert mecha.recipe_from_text(text) == recipe


def test_the_header_says_it_where_it_gives_these_tensors(folder, monkeypatch):
    architecture, path = folder
    recipe = recipe_of([{"model": "a", "alpha": 0.5}])
    wanted, header = ours(path, recipe)
    text = header["mecha_recipe"]
    assert mecha.METHOD in text  # sd-mecha's own methods would merge the VAE and the schedules
    name = CONFIGS[architecture]
    configured = text.replace("model_config=null", f'model_config="{name}"')
    same(theirs(path, sd_mecha.deserialize(configured), monkeypatch), wanted)
    _, alone = ours(path, recipe_of([{"model": "a"}], components="diffusion"))
    assert "mecha_recipe" not in alone  # the base holds more, and its names have a prefix


def test_a_weighted_sum_of_sd_mecha_comes_back(folder, monkeypatch):
    architecture, path = folder
    name = CONFIGS[architecture]
    a, b = (sd_mecha.model(f"{n}.safetensors", name) for n in ("base", "a"))
    node = sd_mecha.weighted_sum(a, b, alpha=0.3)
    merged = theirs(path, node, monkeypatch)
    recipe = mecha.recipe_from_text(sd_mecha.serialize(node, finalize=False))
    assert recipe.rows[0].alpha == 0.3 and recipe.merges_parts
    found, _ = ours(path, recipe)
    keys = [k for k in found if k.startswith(("model.diffusion_model.", "cond", "first_stage"))]
    same({k: merged[k] for k in keys}, {k: found[k] for k in keys if found[k].is_floating_point()})


def test_what_sd_mecha_has_no_words_for_is_refused(folder):
    _, path = folder
    row = [{"model": "a"}]
    with pytest.raises(UnsupportedError, match=r"a file of its own, \"v\.safetensors\""):
        mecha.recipe_text(recipe_of(row, vae="v.safetensors"))
    with pytest.raises(UnsupportedError, match='cannot change the prediction to "v"'):
        mecha.script_text(recipe_of(row, prediction="v"))
    assert mecha.require_plain_files(recipe_of(row), path) == torch.float16
    with pytest.raises(PlanError, match="holds more than the diffusion model"):
        mecha.require_plain_files(recipe_of(row, components="diffusion"), path)
