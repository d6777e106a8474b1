"""OrthoPickModel on prefixed files with marker keys: every model predicts by its own."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.inventories import small_sd3


def run(node: Any, **inputs: Any) -> Any:
    return node.PREPARE_CLASS_CLONE({}).EXECUTE_NORMALIZED(**inputs).result


@pytest.fixture
def loaded(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """What reaches ComfyUI's loader, in order."""
    seen: list[dict[str, torch.Tensor]] = []
    load = pack.host.load_model

    def keep(weights: dict[str, torch.Tensor], metadata: Any) -> Any:
        seen.append(dict(weights))
        return load(weights, metadata)

    monkeypatch.setattr(pack.host, "load_model", keep)
    return seen


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_markers_of_a_prefixed_file(
    pack: ModuleType, folders: Path, loaded: list[dict[str, torch.Tensor]], prefix: str
):
    place = folders / "diffusion_models"
    shapes = small_sd3(2, 128)
    for name, marks in (("base", ["__index_timestep_zero__"]), ("one", ["v_pred", "ztsnr"])):
        tensors = {k: torch.randn(s).bfloat16() for k, s in shapes.items()}
        tensors |= {m: torch.empty(0) for m in marks}
        save_file({prefix + k: t for k, t in tensors.items()}, place / f"{name}.safetensors")
    (spec,) = run(pack.OrthoModelSet, base="base.safetensors", models="one.safetensors")
    for name in ("base", "one"):
        model, *_ = run(pack.OrthoPickModel, models=spec, name=name)
        assert model is not None
    base, one = loaded
    assert set(base) - set(shapes) == {"__index_timestep_zero__"}
    assert set(one) - set(shapes) == {"v_pred", "ztsnr"}
