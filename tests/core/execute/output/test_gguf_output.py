"""A merge written as GGUF: read by the gguf package, by our own reader, and refused where it must
be."""

import json

import numpy as np
import pytest
import torch

from orthomerge_core.errors import PlanError
from orthomerge_core.execute.output.provenance import recipe_from_metadata
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.quant.encoders import all_encoders
from orthomerge_core.recipe.model import Row
from tests.core.execute.conftest import live_spec, recipe_for
from tests.inventories import inventory

gguf = pytest.importorskip("gguf")
NAMES = tuple(name for name, encoder in all_encoders().items() if encoder.in_gguf)
QUANTIZED = "joint_blocks.0.x_block.attn.qkv.weight"


def small_sd3(seed=0):
    """The keys of SD 3.5 with two blocks, narrow; a patch embedding of four axes."""
    rng, found = torch.Generator().manual_seed(seed), {}
    for key, shape in inventory("sd35-medium").items():
        if key.startswith("joint_blocks.") and int(key.split(".")[1]) > 1:
            continue
        narrow = tuple(min(n, 64) if n > 3 else n for n in shape)
        found[key] = torch.randn(narrow, generator=rng).half()
    return found


def family():
    base = small_sd3()
    tune = {key: (t.float() + 0.1 * torch.randn(t.shape)).half() for key, t in base.items()}
    return {"base": base, "a": tune}


def written(models, path, name, **fields):
    spec = live_spec(models)
    recipe = recipe_for(spec, Row("a"), output_dtype=name, method="task_arithmetic", **fields)
    with plan_merge(recipe, spec, target=path) as plan:
        return plan.output_bytes, run_merge(plan).report


@pytest.mark.parametrize("name", NAMES)
def test_the_package_and_our_reader_read_the_merge(name, tmp_path):
    models, path = family(), tmp_path / "merged.gguf"
    announced, report = written(models, path, name)
    reader = gguf.GGUFReader(path)
    kind = gguf.GGMLQuantizationType[name.removeprefix("gguf_").upper()]
    assert reader.get_field("general.architecture").contents() == "sd3"
    assert reader.get_field("general.quantization_version").contents() == gguf.GGML_QUANT_VERSION
    file_type = gguf.LlamaFileType[f"MOSTLY_{kind.name}"]
    assert reader.get_field("general.file_type").contents() == file_type
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert tensors.keys() == models["a"].keys()
    assert announced == sum(int(tensor.n_bytes) for tensor in reader.tensors)
    with open_source(path) as source:
        for key, merged in models["a"].items():
            tensor, values = tensors[key], merged.float().numpy()
            assert tuple(reversed(tensor.shape.tolist())) == merged.shape
            theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(merged.shape)
            assert np.array_equal(source.read(key).numpy(), theirs), key
            wanted = gguf.quants.quantize(values, tensor.tensor_type)
            raw = np.ascontiguousarray(wanted).view(np.uint8).reshape(-1)
            assert np.array_equal(tensor.data.view(np.uint8).reshape(-1), raw), key
        assert recipe_from_metadata(source.metadata, "x").rows[0].model == "a"
    assert tensors[QUANTIZED].tensor_type == kind
    kept = gguf.GGMLQuantizationType
    assert tensors["final_layer.linear.weight"].tensor_type == kept.BF16
    assert tensors["x_embedder.proj.weight"].tensor_type == kept.F16
    assert tensors["joint_blocks.0.x_block.attn.qkv.bias"].tensor_type == kept.F32
    assert tensors["pos_embed"].tensor_type == kept.F32
    assert 0 < report.rounding_frac < 3


def test_its_hash_is_that_of_its_tensors_and_repeats(tmp_path):
    models = family()
    _, one = written(models, tmp_path / "one.gguf", "gguf_q8_0")
    _, two = written(models, tmp_path / "two.gguf", "gguf_q8_0")
    assert one.content_hash == two.content_hash
    found = verify_file(tmp_path / "one.gguf")
    assert found.ok and found.recipe is not None
    tampered = bytearray((tmp_path / "one.gguf").read_bytes())
    tampered[-40] ^= 1
    (tmp_path / "one.gguf").write_bytes(tampered)
    assert not verify_file(tmp_path / "one.gguf").ok


def test_a_gguf_file_is_a_base_again(tmp_path):
    """Written, then read as the base of another merge: within the rounding of both."""
    models, path = family(), tmp_path / "base.gguf"
    written(models, path, "gguf_q8_0")
    with open_source(path) as source:
        read = {key: source.read(key) for key in source.entries}
    error = (read[QUANTIZED] - models["a"][QUANTIZED].float()).abs().max()
    assert error <= models["a"][QUANTIZED].float().abs().max() / 127 / 2 * 1.01


def test_more_than_four_axes_keep_their_shape_in_a_field(tmp_path):
    base = {
        "blocks.0.self_attn.norm_q.weight": torch.ones(64),
        "text_embedding.2.weight": torch.randn(64, 64),
        "head.modulation": torch.randn(1, 2, 64),
        "head.head.weight": torch.randn(64, 64),
        "patch_embedding.weight": torch.randn(64, 16, 1, 2, 2),
        "blocks.0.self_attn.q.weight": torch.randn(64, 64),
        "blocks.0.ffn.0.weight": torch.randn(64, 64),
    }
    tune = {key: tensor + 0.1 for key, tensor in base.items()}
    path, spec = tmp_path / "wan.gguf", live_spec({"base": base, "a": tune})
    recipe = recipe_for(spec, Row("a"), output_dtype="gguf_q8_0", architecture="wan")
    with plan_merge(recipe, spec, target=path) as plan:
        run_merge(plan)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert tensors["patch_embedding.weight"].shape.tolist() == [4096, 1]
    with open_source(path) as source:
        assert source.entries["patch_embedding.weight"].shape == (64, 16, 1, 2, 2)


def refusal(models, path, name="gguf_q8_0", layout="auto"):
    spec = live_spec(models)
    with pytest.raises(PlanError) as refused:
        recipe = recipe_for(spec, Row("a"), output_dtype=name)
        plan_merge(recipe, spec, target=path, layout=layout)
    return str(refused.value)


def test_what_cannot_be_a_gguf_file_is_said(tmp_path, monkeypatch):
    models = family()
    assert "this merge stays in memory" in refusal(models, None)
    assert "makes a GGUF file" in refusal(models, tmp_path / "x.safetensors")
    assert '"x.gguf" has the wrong ending' in refusal(models, tmp_path / "x.gguf", "bf16")
    text = refusal(models, tmp_path / "x.gguf", layout="checkpoint")
    assert "holds the diffusion model alone, not a checkpoint" in text
    strange = {name: {f"odd.{k}": t for k, t in m.items()} for name, m in models.items()}
    strange = {name: {"layer.weight": torch.ones(64, 64)} for name in strange}
    text = refusal(strange, tmp_path / "x.gguf")
    assert "ComfyUI-GGUF has no name for the architecture generic" in text
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    text = refusal(models, tmp_path / "x.gguf")
    assert "written with the gguf package, which is not installed" in text
    assert not list(tmp_path.iterdir())


def test_a_header_that_is_cut_short_of_its_recipe_is_still_complete(tmp_path):
    """Without provenance the recipe stays out and the file still verifies."""
    models, path = family(), tmp_path / "x.gguf"
    spec = live_spec(models)
    with plan_merge(recipe_for(spec, Row("a"), output_dtype="gguf_q8_0"), spec, target=path) as p:
        run_merge(p, provenance=False, extra_metadata={"workflow": json.dumps({"nodes": []})})
    with open_source(path) as source:
        assert "orthomerge.recipe" not in source.metadata
        assert json.loads(source.metadata["workflow"]) == {"nodes": []}
    assert verify_file(path).ok
