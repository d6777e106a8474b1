"""What ComfyUI takes a merge of SDXL models for: epsilon, v, or v with zero terminal SNR."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.real_checkpoints import sdxl_unet_shapes, tuned, weights

MARKS = {"epsilon": set(), "v": {"v_pred"}, "v+ztsnr": {"v_pred", "ztsnr"}}


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """eps: predicts epsilon. noob, child: predict v, with zero terminal SNR."""
    folder = tmp_path_factory.mktemp("sdxl")
    base = weights(sdxl_unet_shapes())
    marks = {name: torch.zeros(0) for name in MARKS["v+ztsnr"]}
    save_file(base, folder / "eps.safetensors")
    for seed, name in enumerate(("noob", "child"), 1):
        save_file(tuned(base, seed) | marks, folder / f"{name}.safetensors")
    yield folder
    for path in folder.iterdir():
        path.unlink()


@pytest.fixture
def there(folders: Path, sdxl: Path) -> Path:
    """The files in ComfyUI's folder for checkpoints."""
    for path in sdxl.iterdir():
        (folders / "checkpoints" / path.name).symlink_to(path)
    return folders


def run(node: Any, **inputs: Any) -> Any:
    return node.PREPARE_CLASS_CLONE({}).EXECUTE_NORMALIZED(**inputs).result


def recipe(pack: ModuleType, base: str, model: str, **mixer: Any) -> Any:
    (spec,) = run(pack.OrthoModelSet, base=f"{base}.safetensors", models=f"{model}.safetensors")
    table = json.dumps({"version": 1, "rows": [{"model": model, "alpha": 0.5}]})
    return run(pack.OrthoMixer, models=spec, method="task_arithmetic", table=table, **mixer)[0]


def kind(model: Any) -> str:
    """How ComfyUI samples a MODEL."""
    from comfy.model_base import ModelType
    from comfy.model_sampling import EPS, V_PREDICTION

    sampling = model.model.model_sampling
    if model.model.model_type == ModelType.EPS:
        assert isinstance(sampling, EPS) and not isinstance(sampling, V_PREDICTION)
        return "epsilon"
    assert model.model.model_type == ModelType.V_PREDICTION
    assert isinstance(sampling, V_PREDICTION)
    return "v+ztsnr" if sampling.sigma_max > 1000 else "v"


@pytest.mark.parametrize(
    ("base", "model", "asked", "expected"),
    [
        ("noob", "child", "auto", "v+ztsnr"),
        ("noob", "child", "epsilon", "epsilon"),
        ("eps", "noob", "base", "epsilon"),
        ("eps", "noob", "noob", "v+ztsnr"),
        ("eps", "noob", "v", "v"),
    ],
)
def test_a_merge_is_sampled_as_asked(
    pack: ModuleType, there: Path, base: str, model: str, asked: str, expected: str
):
    wire = recipe(pack, base, model, prediction=asked)
    assert kind(run(pack.OrthoMergeExecute, recipe=wire)[0]) == expected


def test_models_that_do_not_agree_need_a_choice(pack: ModuleType, errors: ModuleType, there: Path):
    wire = recipe(pack, "eps", "noob")
    with pytest.raises(errors.PlanError, match="`prediction` of the mixer"):
        run(pack.OrthoMergeExecute, recipe=wire)
    with pytest.raises(errors.RecipeError, match='unknown prediction "vv"'):
        recipe(pack, "eps", "noob", prediction="vv")


def test_a_saved_merge_says_it_in_markers_and_header(pack: ModuleType, there: Path):
    import comfy.sd

    wire = recipe(pack, "noob", "child", prediction="v")
    run(pack.OrthoMergeSave, recipe=wire, filename_prefix="diffusion_models/v")
    (path,) = (there / "output" / "diffusion_models").glob("*.safetensors")
    with safe_open(path, "pt") as file:
        assert {k for k in file.keys() if k in MARKS["v+ztsnr"]} == MARKS["v"]  # noqa: SIM118
        assert file.metadata()["modelspec.predict_key"] == "v"
    assert kind(comfy.sd.load_diffusion_model(str(path))) == "v"


@pytest.mark.parametrize(("name", "expected"), [("base", "epsilon"), ("noob", "v+ztsnr")])
def test_a_picked_model_predicts_by_its_own_markers(
    pack: ModuleType, there: Path, name: str, expected: str
):
    (spec,) = run(pack.OrthoModelSet, base="eps.safetensors", models="noob.safetensors")
    assert kind(run(pack.OrthoPickModel, models=spec, name=name)[0]) == expected
