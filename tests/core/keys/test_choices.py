"""What a set leaves to choose: components, holders of a VAE, predictions."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from orthomerge_core.keys.choices import choices
from orthomerge_core.keys.opening import open_set, spec_from_paths
from tests.checkpoints import checkpoint


def saved(folder: Path, name: str, tensors: dict[str, torch.Tensor]) -> Path:
    path = folder / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    return path


def test_a_checkpoint_s_components_vae_holders_and_predictions(tmp_path: Path) -> None:
    base = checkpoint("sd15")
    full = checkpoint("sd15", 1, base=base)
    bare = {k: v for k, v in full.items() if not k.startswith("first_stage_model.")}
    marked = bare | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    spec = spec_from_paths(
        saved(tmp_path, "base", base),
        [saved(tmp_path, "full", full), saved(tmp_path, "marked", marked)],
    )
    with open_set(spec, find_duplicates=False) as aligned:
        found = choices(aligned)
    assert found == {
        "components": ["diffusion", "text_encoder.l", "vae"],
        "vae": ["full"],
        "predictions": {"base": "epsilon", "full": "epsilon", "marked": "v+ztsnr"},
    }


def test_of_diffusion_models_nothing_is_to_choose(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    base = {f"blocks.{i}.weight": torch.randn(4, 4, generator=generator) for i in range(2)}
    other = {k: v + 0.1 for k, v in base.items()}
    paths = [saved(tmp_path, "base", base), saved(tmp_path, "other", other)]
    with open_set(spec_from_paths(paths[0], paths[1:]), find_duplicates=False) as aligned:
        found = choices(aligned)
    assert found["components"] == ["diffusion"]
    assert found["vae"] == []
    assert set(found["predictions"].values()) == {"epsilon"}
