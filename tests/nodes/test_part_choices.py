"""The mixer's choices for checkpoints: VAE and prediction."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints import checkpoint


@pytest.fixture
def checkpoints(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base with a VAE, a fine-tune, one that predicts v, and two VAE files."""
    import folder_paths

    known = dict(folder_paths.folder_names_and_paths)
    known["vae"] = ([str(folders / "vae")], folder_paths.supported_pt_extensions)
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    (folders / "vae" / "sub").mkdir(parents=True)
    base = checkpoint("sd15")
    fine = checkpoint("sd15", 1, base=base)
    place = folders / "checkpoints"
    save_file(base, place / "root.safetensors")
    save_file(fine, place / "fine.safetensors")
    save_file(fine | {"v_pred": torch.zeros(0)}, place / "vee.safetensors")
    prefix = "first_stage_model."
    vae = {k.removeprefix(prefix): 2 * v for k, v in base.items() if k.startswith(prefix)}
    save_file(vae, folders / "vae" / "sub" / "sharp.safetensors")
    (folders / "vae" / "old.pt").write_bytes(b"pickle")
    return folders


def run(node: Any, **inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    output = node.PREPARE_CLASS_CLONE({}).EXECUTE_NORMALIZED(**inputs)
    return output.result, (output.ui or {}).get("orthomerge", [{}])[0]


def model_set(pack: ModuleType, *names: str) -> Any:
    models = "\n".join(f"{name}.safetensors" for name in names)
    (spec,), _ = run(pack.OrthoModelSet, base="root.safetensors", models=models)
    return spec


def test_the_browser_learns_what_there_is_to_choose(pack: ModuleType, checkpoints: Path):
    (wire, _), told = run(pack.OrthoMixer, models=model_set(pack, "fine", "vee"))
    assert told["parts"] == {
        "components": ["diffusion", "text_encoder.l", "vae"],
        "vae": ["fine", "vee"],
        "predictions": {"base": "epsilon", "fine": "epsilon", "vee": "v"},
        "vae_files": ["sub/sharp.safetensors"],
    }
    assert wire.recipe.vae.source == "base" and wire.recipe.prediction is None
    answer = pack.model_set.members("root.safetensors", "fine.safetensors\nvee.safetensors")
    assert answer["parts"] == told["parts"]
    assert str(checkpoints) not in str(answer)


def test_choices_become_the_recipe_s_fields(pack: ModuleType, checkpoints: Path):
    spec = model_set(pack, "fine", "vee")
    (wire, _), _ = run(pack.OrthoMixer, models=spec, vae="fine", prediction="v+ztsnr")
    assert (wire.recipe.vae.source, wire.recipe.prediction) == ("fine", "v+ztsnr")
    (wire, _), _ = run(pack.OrthoMixer, models=spec, vae="sub/sharp.safetensors", prediction="vee")
    assert wire.recipe.vae_file == "sub/sharp.safetensors"
    assert wire.spec.vae.path == checkpoints / "vae" / "sub" / "sharp.safetensors"
    assert wire.recipe.prediction == "vee"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"vae": "sub/sharpe.safetensors"},
            'no VAE "sub/sharpe.safetensors" in the folders for VAEs',
        ),
        ({"vae": "nobody"}, 'vae: no model "nobody", and no safetensors file of that name'),
        ({"vae": "../x.safetensors"}, "a path that leaves the models folder"),
        ({"prediction": "vv"}, 'unknown prediction "vv"'),
    ],
)
def test_unknown_choices_are_named(
    pack: ModuleType, checkpoints: Path, inputs: dict[str, str], message: str
):
    with pytest.raises(Exception, match=re.escape(message)):
        run(pack.OrthoMixer, models=model_set(pack, "fine"), **inputs)


def test_a_vae_file_that_changes_is_noticed(pack: ModuleType, checkpoints: Path):
    mixer, name = pack.OrthoMixer, "sub/sharp.safetensors"
    before = mixer.fingerprint_inputs(vae=name)
    assert mixer.fingerprint_inputs(vae="base") == mixer.fingerprint_inputs(vae="merge") == ""
    save_file({"w": torch.ones(1)}, checkpoints / "vae" / name)
    assert mixer.fingerprint_inputs(vae=name) != before != ""


def test_diffusion_models_leave_nothing_to_choose(pack: ModuleType, checkpoints: Path):
    place = checkpoints / "diffusion_models"
    save_file({"w": torch.zeros(2)}, place / "other.safetensors")
    (spec,), _ = run(pack.OrthoModelSet, base="base.safetensors", models="other.safetensors")
    _, told = run(pack.OrthoMixer, models=spec)
    assert told["parts"]["components"] == ["diffusion"] and told["parts"]["vae_files"] == []
