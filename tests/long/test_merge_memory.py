"""What a plan says a merge will hold is what it holds, over methods, dtypes and sizes."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

AROUND_MIB = 24.0
"""What the allocator may keep or find, whatever the merge."""

SIDES = {"small": [(64, 64)] * 3, "middle": [(1024, 1024)] * 6, "large": [(2048, 4608)] * 4}


def write_merge(folder, sides, dtype, method, count, output):
    """A base, `count` fine-tunes and a recipe of all of them."""
    draw = torch.Generator().manual_seed(0)
    shapes = {f"blocks.{i}.w.weight": side for i, side in enumerate(sides)}
    base = {k: torch.randn(s, generator=draw).to(dtype) for k, s in shapes.items()}
    folder.mkdir(parents=True)
    save_file(base, folder / "base.safetensors")
    names = [f"m{i}" for i in range(count)]
    for name in names:
        tuned = {
            k: (t.float() + 0.02 * torch.randn(t.shape, generator=draw)).to(dtype)
            for k, t in base.items()
        }
        save_file(tuned, folder / f"{name}.safetensors")
    recipe = {
        "base": "base.safetensors",
        "models": {name: {"file": f"{name}.safetensors"} for name in names},
        "rows": [{"model": name, "alpha": 0.5} for name in names],
        "method": method,
        "output_dtype": output,
    }
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resets the peak through /proc")
@pytest.mark.parametrize(
    ("method", "count", "output", "size", "dtype"),
    [
        ("task_arithmetic", 4, "base", "large", torch.bfloat16),
        ("task_arithmetic", 2, "fp8_e4m3fn", "large", torch.bfloat16),
        ("task_arithmetic", 2, "int8_rowwise", "large", torch.float32),
        ("orthogonal_projection", 4, "base", "middle", torch.float32),
        ("orthogonal_projection", 2, "base", "large", torch.bfloat16),
        ("slerp", 1, "base", "middle", torch.bfloat16),
        ("ties", 3, "base", "large", torch.float32),
        ("model_stock", 2, "base", "large", torch.bfloat16),
        ("orthomerge", 2, "base", "middle", torch.float32),
    ],
)
def test_a_plan_says_what_its_merge_holds(tmp_path, method, count, output, size, dtype):
    folder = tmp_path / "merge"
    write_merge(folder, SIDES[size], dtype, method, count, output)
    write_merge(folder / "small", SIDES["small"], dtype, method, count, output)
    command = [sys.executable, "-m", "tests.long.merge_memory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    stated, measured = json.loads(done.stdout)
    assert abs(stated - measured) <= 0.25 * measured + AROUND_MIB
