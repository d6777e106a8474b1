"""A LoRA file as a row against ComfyUI's LoraLoader, weight by weight, in MODEL and CLIP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.real_checkpoints import sd15_shapes, weights

LAYERS = {  # a layer's name in a LoRA of kohya → its key in the checkpoint
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q":
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight",
    "lora_unet_mid_block_attentions_0_proj_in":
        "model.diffusion_model.middle_block.1.proj_in.weight",
    "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_2":
        "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.ff.net.2.weight",
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj":
        "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight",
    "lora_te_text_model_encoder_layers_11_mlp_fc1":
        "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc1.weight",
}  # fmt: skip
RANK, ALPHA = 4, 2.0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An SD 1.5 checkpoint without a VAE."""
    path = tmp_path_factory.mktemp("sd15") / "base.safetensors"
    save_file(weights(sd15_shapes("cond_stage_model.")), path)
    yield path
    path.unlink()


@pytest.fixture
def there(folders: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's folders with the checkpoint, and a LoRA of UNet and text encoder."""
    import folder_paths

    (folders / "loras").mkdir()
    known = dict(folder_paths.folder_names_and_paths)
    known["loras"] = ([str(folders / "loras")], {".safetensors"})
    known["embeddings"] = ([], {".safetensors"})
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    (folders / "checkpoints" / "sd15.safetensors").symlink_to(base)
    shapes, generator = sd15_shapes(), torch.Generator().manual_seed(1)
    tensors = {}
    for name, key in LAYERS.items():
        rows, cols, *tail = shapes[key]
        ones = [1] * len(tail)
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, RANK, *ones, generator=generator)
        tensors[f"{name}.lora_down.weight"] = torch.randn(RANK, cols, *tail, generator=generator)
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    save_file(tensors, folders / "loras" / "style.safetensors")
    return folders


def test_a_row_is_what_lora_loader_makes(pack: ModuleType, there: Path):
    import comfy.lora
    import comfy.lora_convert
    import comfy.sd
    import comfy.utils

    def run(node: Any, **inputs: Any) -> Any:
        return node.PREPARE_CLASS_CLONE({}).EXECUTE_NORMALIZED(**inputs).result

    (spec,) = run(pack.OrthoModelSet, base="sd15.safetensors", models="style.safetensors")
    row = {"model": "style", "alpha": 0.8, "text": 0.5}
    table = json.dumps({"version": 1, "rows": [row]})
    wire = run(pack.OrthoMixer, models=spec, method="task_arithmetic", table=table)[0]
    ours = pack.merging.merge_to_model(wire, "fp32", "cpu", None, parts=("clip",))

    with torch.inference_mode():
        file = str(there / "checkpoints" / "sd15.safetensors")
        model, clip, *_ = comfy.sd.load_checkpoint_guess_config(file, output_vae=False)
        lora = comfy.utils.load_torch_file(str(there / "loras" / "style.safetensors"))
        theirs = comfy.sd.load_lora_for_models(model, clip, lora, 0.8, 0.5)
    assert len(theirs[0].patches) == 3 and len(theirs[1].patcher.patches) == 2
    pairs = ((ours.model, theirs[0], pack.host.PREFIX), (ours.clip.patcher, theirs[1].patcher, ""))
    for mine, other, prefix in pairs:
        for full in other.patches:
            key = full.removeprefix(prefix)
            wanted = pack.host.weight_value(other, key, prefix)
            before = other.model.state_dict()[full].float()
            assert not torch.allclose(wanted, before)
            found = pack.host.weight_value(mine, key, prefix)
            torch.testing.assert_close(found, wanted, rtol=2**-10, atol=1e-3)
