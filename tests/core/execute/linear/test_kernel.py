"""Merging stored 16-bit numbers in compiled code gives the very bytes that torch gives."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.execute.linear import kernel as fused
from orthomerge_core.execute.linear import merge as linear
from orthomerge_core.execute.linear.half import HalfSums
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.keys.opening import spec_from_paths
from orthomerge_core.linalg import compiled
from orthomerge_core.linalg.compiled import BLOCK, KINDS, loops
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import base_tensors, recipe_for, tuned

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16}
METHODS = [
    ("task_arithmetic", {}),
    ("average", {}),
    ("orthogonal_projection", {"variant": "sequential"}),
    ("orthogonal_projection", {"variant": "symmetric"}),
    ("orthogonal_projection", {"variant": "dual"}),
]
ROWS = {
    "plain": ((Row("a", alpha=0.7), Row("b", alpha=-1.2, repeat=2), Row("c")), {}),
    "parents": ((Row("b", delta_from="a", alpha=0.3), Row("c", delta_from="b")), {}),
    "one of three": ((Row("c", alpha=0.9),), {}),
    "texture": ((Row("a"),), {"texture_boost": TextureBoost("b", 0.25)}),
    "texture alone": ((), {"texture_boost": TextureBoost("c", 0.5)}),
    "layers": ((Row("a", layers="*attn*=0, default=0.4"), Row("b")), {}),
}


@pytest.fixture(params=DTYPES)
def spec(request, tmp_path):
    """Files; `a` lacks a tensor, `b` equals the base in another, and nothing is a round number."""
    dtype = DTYPES[request.param]
    base = base_tensors(dtype)
    base["wide.weight"] = torch.randn(40, 130, generator=torch.Generator().manual_seed(9)).to(dtype)
    models = {name: tuned(base, seed) for seed, name in enumerate("abc", start=1)}
    del models["a"]["blocks.0.attn.bias"]
    models["b"]["blocks.1.mlp.weight"] = base["blocks.1.mlp.weight"].clone()
    return stored(tmp_path, {"base": base, **models})


def stored(folder, tensors):
    for name, weights in tensors.items():
        save_file(weights, folder / f"{name}.safetensors")
    names = [name for name in tensors if name != "base"]
    return spec_from_paths(
        folder / "base.safetensors", [folder / f"{name}.safetensors" for name in names], "generic"
    )


def merged(spec, *rows, **fields):
    with plan_merge(recipe_for(spec, *rows, **fields), spec) as plan:
        found = run_merge(plan)
    return found.report, found.state_dict


def as_bytes(tensor):
    return tensor.reshape(-1).view(torch.uint8)


@pytest.fixture
def used(monkeypatch):
    """Keys that the compiled way merged; it is on from here."""
    keys, run = [], HalfSums.add_up

    def watched(self, tensor, *rest):
        found = run(self, tensor, *rest)
        if found is not None:
            keys.append(tensor.key)
        return found

    monkeypatch.setattr(HalfSums, "add_up", watched)
    monkeypatch.setattr(linear, "WORTH_COMPILING_BYTES", 0)
    return keys


@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.parametrize("case", ROWS)
def test_bytes_hash_and_report_are_those_of_torch(spec, method, options, case, request):
    rows, fields = ROWS[case]
    plain, tensors = merged(spec, *rows, method=method, options=options, **fields)
    used = request.getfixturevalue("used")
    fast, same = merged(spec, *rows, method=method, options=options, **fields)
    assert "wide.weight" in used and "final.gate" in used
    assert fast.content_hash == plain.content_hash
    for key, tensor in tensors.items():
        assert torch.equal(
            tensor.reshape(-1).view(torch.uint8), same[key].reshape(-1).view(torch.uint8)
        )
    assert fast.keys == plain.keys
    assert fast.retention == pytest.approx(plain.retention, rel=2e-6)
    assert fast.delta_norm == pytest.approx(plain.delta_norm, rel=2e-6)
    assert fast.rounding_frac == pytest.approx(plain.rounding_frac, rel=1e-5)


@pytest.mark.parametrize("chunk", [1024, 1500, 4096])
def test_chunks_change_nothing(spec, used, chunk, monkeypatch):
    rows = (Row("a", alpha=0.7), Row("c"))
    whole, _ = merged(spec, *rows)
    monkeypatch.setattr(
        linear.LinearMerge.__init__, "__kwdefaults__", {"chunk": chunk, "threads": 1}
    )
    cut, _ = merged(spec, *rows)
    assert used.count("wide.weight") == 2
    assert cut.content_hash == whole.content_hash


@pytest.mark.parametrize("where", ["base", "a"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_left_out_as_by_torch(tmp_path, used, where, bad):
    base = base_tensors(torch.float16)
    tensors = {"base": base, "a": tuned(base, 1), "b": tuned(base, 2)}
    tensors[where]["blocks.1.mlp.weight"][3, 5] = bad
    key = "blocks.1.mlp.weight"
    report, found = merged(stored(tmp_path, tensors), Row("a"), Row("b"))
    assert report.repaired_keys == ((key,) if where == "base" else ())
    wanted = base[key] if where == "base" else tensors["b"][key]
    assert torch.equal(found[key].view(torch.int16), wanted.view(torch.int16))
    assert key not in used and "blocks.0.attn.weight" in used


def test_sums_beyond_float16_become_its_largest_number(tmp_path, used):
    base = {"w": torch.full((8, 8), 6e4, dtype=torch.float16)}
    spec = stored(
        tmp_path, {"base": base, "a": {"w": torch.full((8, 8), 6.5e4, dtype=torch.float16)}}
    )
    report, found = merged(spec, Row("a", alpha=5.0))
    assert used == []  # the float32 way counts what is clipped
    assert (found["w"] == 65504).all()
    assert "64 weights were clipped to the range of F16, ±65504." in report.notes


@pytest.mark.parametrize("output", ["fp32", "bf16", "fp8_e4m3fn"])
def test_another_output_dtype_is_not_for_it(tmp_path, used, output):
    base = base_tensors(torch.float16)
    spec = stored(tmp_path, {"base": base, "a": tuned(base, 1)})
    merged(spec, Row("a", alpha=0.5), output_dtype=output)
    assert used == []


def test_without_numba_or_with_another_rounding_torch_does_it(spec, used, monkeypatch):
    wanted, _ = merged(spec, Row("a", alpha=0.5))
    for name, value in (("_agrees", lambda *_: False), ("loops", lambda: None)):
        used.clear()
        monkeypatch.setattr(fused, name, value)
        fused.fused_kernel.cache_clear()
        found, _ = merged(spec, Row("a", alpha=0.5))
        assert used == [] and found.content_hash == wanted.content_hash
        monkeypatch.undo()
        monkeypatch.setattr(linear, "WORTH_COMPILING_BYTES", 0)
    fused.fused_kernel.cache_clear()


def test_the_trial_notices_a_wrong_rounding(monkeypatch):
    kernel = fused.fused_kernel("BF16")
    assert kernel is not None and fused._agrees(kernel, "BF16")

    def wrong_byte(stored, columns, *rest):
        energy = kernel.merge(stored, columns, *rest)
        rest[-1][777] ^= 1
        return energy

    def wrong_sum(stored, columns, *rest):
        kernel.gram(stored, columns, *rest)
        rest[-1][0, 1] = np.nextafter(rest[-1][0, 1], np.inf)

    assert not fused._agrees(replace(kernel, merge=wrong_byte), "BF16")
    assert not fused._agrees(replace(kernel, gram=wrong_sum), "BF16")


def test_blocks_have_the_loops_length():
    assert the_loops().BLOCK == BLOCK


@pytest.mark.parametrize("why", [ImportError, RuntimeError])
def test_numba_that_is_absent_or_has_no_folder_is_no_error(monkeypatch, why):
    class Numba:
        def njit(self, *_, **__):
            raise why("no locator available for file")

    monkeypatch.setitem(sys.modules, "numba", Numba() if why is RuntimeError else None)
    monkeypatch.delitem(sys.modules, "_orthomerge_loops", raising=False)
    compiled._load.cache_clear()
    assert loops() is None
    assert "_orthomerge_loops" not in sys.modules
    compiled._load.cache_clear()


def test_whoever_asks_while_another_still_loads_gets_the_whole():
    """A stopped run goes on loading in its thread; the next run must not see half a module."""
    script = (
        "import threading\n"
        "from orthomerge_core.linalg.compiled import loops\n"
        "found = []\n"
        "ask = lambda: found.append(hasattr(loops(), 'merge_halves'))\n"
        "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(found)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([True] * 8)


@pytest.mark.parametrize("name", DTYPES)
def test_every_16_bit_number_is_widened_as_torch_widens_it(name):
    stored = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    row = np.empty(len(stored), dtype=np.float32)
    the_loops().widen(stored, KINDS[name], row, row.view(np.uint32))
    wanted = torch.from_numpy(stored.view(np.int16)).view(DTYPES[name]).float()
    if name == "F16":  # infinity counts as not finite, like NaN
        wanted[~torch.isfinite(wanted)] = torch.nan
    finite = torch.isfinite(wanted).numpy()
    np.testing.assert_array_equal(np.isnan(row), torch.isnan(wanted).numpy())
    np.testing.assert_array_equal(
        row.view(np.uint32)[finite], wanted.numpy().view(np.uint32)[finite]
    )


@pytest.mark.parametrize("name", DTYPES)
def test_numbers_are_rounded_as_torch_rounds_them(name):
    """Every 16-bit number, its neighbours' midpoints, and one float32 step to either side."""
    halves = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(DTYPES[name]).float()
    halves = halves[torch.isfinite(halves)].sort().values
    middles = ((halves[1:].double() + halves[:-1].double()) / 2).float()
    exact = torch.cat(
        [halves, middles, torch.randn(10_000) * torch.exp2(torch.randint(-30, 15, (10_000,)))]
    )
    bits = exact.view(torch.int32)
    numbers = torch.cat([exact, (bits + 1).view(torch.float32), (bits - 1).view(torch.float32)])
    numbers = numbers[torch.isfinite(numbers)]
    limit = torch.finfo(DTYPES[name]).max
    wanted = numbers.clamp(-limit, limit) if name == "F16" else numbers
    row, out = numbers.numpy().copy(), np.empty(len(numbers), dtype=np.uint16)
    the_loops().narrow(row, row.view(np.uint32), KINDS[name], out)
    np.testing.assert_array_equal(
        out.view(np.int16), wanted.to(DTYPES[name]).view(torch.int16).numpy()
    )


def the_loops():
    found = loops()
    assert found is not None, "numba belongs to what the tests install"
    return found
