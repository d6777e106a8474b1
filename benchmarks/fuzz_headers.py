"""Throws damaged and lying files at the reader; each must end in values or a named error.

Each case starts from a small valid file (plain, each quantisation scheme, GGUF) and
changes its bytes, its header's JSON or its length. A case fails on any other exception, on more
than two seconds, or on a jump in memory. Not part of the tests: `python benchmarks/fuzz_headers.py
--cases 20000`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from orthomerge_core.errors import OrthoMergeError
from orthomerge_core.io.opening import open_source

SLOW_S, JUMP_MIB = 2.0, 256
NASTY: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 7, 255, 2**31, 2**32, 2**53, 2**62, 2**63, 2**64, 10**100, 1.5, 1e308),
    *(True, None, "", "F32", "F4", "U8", "I8", "F8_E4M3", "F8_E8M0", "C64", "\ud800", "../x", "\0"),
    *([], [0], [-1, 4], [0, 0], [2**40, 2**40], [2**62, 0], {}, {"a": {}}, [[[[1]]]], float("nan")),
    *("nvfp4", "mxfp8", "int8_tensorwise", "float8_e4m3fn", "asym_w4a8_int8", "unheard_of"),
)


EIGHT_BIT = (torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2)
NAMES = (
    "x",
    "l.weight",
    "l.scale_weight",
    "l.weight_scale_2",
    "l.pre_quant_scale",
    "l.input_scale",
    "l.weight_s_rel",
    "l.weight_codebook",
    "l.weight_correction",
)
OPTIONS = ("format", "convrot", "group_size", "convrot_groupsize", "num_experts", "params")
FORMATS = (
    *("nvfp4", "mxfp8", "int8_tensorwise", "float8_e5m2", "awq_w4a16", "asym_w4a8_int8"),
    *("convrot_w4a4", "svdquant_w4a4", "?"),
)


def marker(**options: Any) -> torch.Tensor:
    """A layer marker as ComfyUI stores it."""
    return torch.tensor(list(json.dumps(options).encode()), dtype=torch.uint8)


def corpus() -> list[tuple[str, bytes]]:
    """(suffix, bytes) of small valid files."""
    fp8 = torch.randn(4, 8).to(torch.float8_e4m3fn)
    i8 = torch.randint(-9, 9, (4, 16), dtype=torch.int8)
    plain = {
        "a.weight": torch.randn(3, 4).bfloat16(),
        "b": torch.arange(5),
        "c": torch.randn(2, dtype=torch.complex64),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.0).half(),
        "big": torch.randn(4, dtype=torch.float64),
    }
    block = torch.ones(128, 4).to(torch.float8_e4m3fn)
    nvfp4 = {"l.weight": torch.zeros(16, 8, dtype=torch.uint8), "l.weight_scale": block}
    nvfp4 |= {"l.weight_scale_2": torch.tensor(1.0), "l.comfy_quant": marker(format="nvfp4")}
    mxfp8 = {"l.weight": torch.zeros(32, 32).to(torch.float8_e4m3fn)}
    mxfp8 |= {"l.weight_scale": torch.ones(128, 4).byte(), "l.comfy_quant": marker(format="mxfp8")}
    int8 = {"l.weight": i8, "l.weight_scale": torch.rand(4, 1)}
    rotated = marker(format="int8_tensorwise", convrot=True, convrot_groupsize=16)
    layers = json.dumps({"layers": {"l": {"format": "float8_e4m3fn"}}})
    scaled = {"l.weight": fp8, "l.weight_scale": torch.tensor(0.5)}
    old = {"l.weight": fp8, "l.scale_weight": torch.tensor(0.5), "scaled_fp8": torch.zeros(2)}
    w4a4 = {"l.weight": torch.zeros(4, 8, dtype=torch.int8), "l.weight_scale": torch.rand(4)}
    w4a4 |= {"l.comfy_quant": marker(format="convrot_w4a4", convrot_groupsize=16)}
    awq = {"l.weight": torch.zeros(4, 8, dtype=torch.int8), "l.weight_scale": torch.rand(2, 4)}
    awq |= {"l.weight_zeros": torch.rand(2, 4), "l.comfy_quant": marker(format="awq_w4a16")}
    asym = {"l.weight": torch.zeros(4, 16, dtype=torch.int8), "l.weight_s_channel": torch.rand(4)}
    asym |= {"l.weight_s_rel": torch.ones(4, 2).to(torch.float8_e4m3fn)}
    asym |= {"l.weight_codebook": torch.rand(16), "l.weight_correction": torch.rand(2, 4)}
    asym |= {"l.comfy_quant": marker(format="asym_w4a8_int8", convrot_groupsize=16)}
    bank = {"l.weight": torch.zeros(3, 4, 8, dtype=torch.int8), "l.weight_scale": torch.rand(3, 4)}
    experts = marker(format="convrot_w4a4", convrot_groupsize=16, num_experts=3)
    files = [
        save(asym),
        save(bank | {"l.comfy_quant": experts}),
        save(w4a4),
        save(awq),
        save(plain, {"k": "v"}),
        save(nvfp4),
        save(mxfp8),
        save(int8 | {"l.comfy_quant": rotated}),
        save(scaled, {"_quantization_metadata": layers}),
        save(old),
    ]
    return [(".safetensors", data) for data in files] + [(".gguf", gguf_file())]


def gguf_file() -> bytes:
    """The bytes of a small GGUF file."""
    import gguf

    kind = gguf.GGMLQuantizationType.Q4_K
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        writer = gguf.GGUFWriter(path, "flux")
        writer.add_array("comfy.gguf.orig_shape.q", [16, 32])
        writer.add_tensor("q", np.zeros((2, 144), np.uint8), raw_dtype=kind)
        writer.add_tensor("p", np.ones((3, 4), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def damage(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """One to four changes, or a valid file with another meaning."""
    if suffix == ".safetensors" and rng.random() < 0.4:
        return remake(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        ways = [flip, cut, insert, grow, length] + ([tree] * 8 if suffix == ".safetensors" else [])
        data = rng.choice(ways)(data, rng)
    return data


def remake(data: bytes, rng: random.Random) -> bytes:
    """A valid file whose tensors do not mean what they seem to."""
    tensors = load(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice(sorted(tensors) or ["l.weight"])
        tensor = tensors.pop(key, torch.zeros(1))
        way = rng.randrange(6)
        if way == 0:
            key = rng.choice(NAMES)
        elif way == 1:
            tensor = tensor.reshape(-1).view(torch.uint8).view(rng.choice((torch.int8, *EIGHT_BIT)))
        elif way == 2:
            tensor = tensor.reshape(
                rng.choice(((-1,), (1, -1), (-1, 1), (1, 1, -1))) if tensor.numel() else -1
            )
        elif way == 3:
            key, tensor = "l.comfy_quant", marker(**{rng.choice(OPTIONS): rng.choice(NASTY)})
        elif way == 4:
            options = {name: rng.choice(NASTY) for name in rng.sample(OPTIONS[1:], 2)}
            key, tensor = "l.comfy_quant", marker(**options | {"format": rng.choice(FORMATS)})
        else:
            continue
        tensors[key] = tensor.clone()
    layers = {"layers": {rng.choice(("l", "m")): {"format": rng.choice(NASTY)}}}
    choices = (None, None, {"_quantization_metadata": rng.choice((json.dumps(layers), "{", "[]"))})
    return save(tensors, rng.choice(choices))


def flip(data: bytes, rng: random.Random) -> bytes:
    """Random bytes in random places, mostly near the beginning."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        if out:
            out[rng.randrange(min(len(out), rng.choice((16, 300, 10**6))))] = rng.randrange(256)
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    """A truncated file."""
    return data[: rng.randrange(len(data) + 1)]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Bytes that shift the rest."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 8, 64))) + data[at:]


def grow(data: bytes, rng: random.Random) -> bytes:
    """Bytes after the end."""
    return data + bytes(rng.choice((1, 8, 4096)))


def length(data: bytes, rng: random.Random) -> bytes:
    """Eight bytes replaced by a tempting number."""
    at = rng.randrange(max(len(data) - 8, 1))
    value = rng.choice((0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1, len(data)))
    return data[:at] + struct.pack("<Q", value) + data[at + 8 :]


def tree(data: bytes, rng: random.Random) -> bytes:
    """Change one node of the header's JSON and keep the length right, so that parsing goes on."""
    try:
        size = struct.unpack("<Q", data[:8])[0]
        head = json.loads(data[8 : 8 + size])
        node, spots = head, []
        collect(node, spots)
        if not spots:
            return data
        holder, key = rng.choice(spots)
        if isinstance(holder, dict) and rng.random() < 0.3:
            holder[rng.choice((*NAMES, "l.comfy_quant", "l.weight.absmax", "__metadata__"))] = (
                holder.pop(key)
            )
        elif rng.random() < 0.1:
            del holder[key]
        else:
            value = holder[key]
            near = value + rng.choice((-4, -1, 1, 4)) if type(value) is int else rng.choice(NASTY)
            holder[key] = rng.choice((near, rng.choice(NASTY)))
        text = json.dumps(head).encode()
    except (ValueError, struct.error, OverflowError, RecursionError, AttributeError):
        return flip(data, rng)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def collect(node: Any, spots: list[tuple[Any, Any]]) -> None:
    """All (holder, key) pairs of a JSON tree."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        spots.append((node, key))
        if isinstance(value, (dict, list)):
            collect(value, spots)


def run_one(path: Path) -> str:
    """The name of what came out: "read" or a named error's class."""
    try:
        with open_source(path) as source:
            for key, entry in source.entries.items():
                source.read(key) if entry.is_float else source.read_raw(key)
            source.fingerprint()
            source.tensor_hashes()
    except OrthoMergeError as error:
        text = str(error)
        if str(path.parent) in text or "\n" in text or len(text) > 4000:
            raise AssertionError(f"unfit message: {text[:300]}") from error
        text.encode()  # a message that cannot be shown is none
        return type(error).__name__
    return "read"


def main() -> int:
    """Run the cases; 0 if all ended well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    rng, seeds, counts, slowest = random.Random(args.seed), corpus(), Counter[str](), 0.0  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        for suffix, data in seeds:
            path = Path(folder) / f"m{suffix}"
            path.write_bytes(data)
            assert run_one(path) == "read"  # noqa: S101
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for case in range(args.cases):
            suffix, data = rng.choice(seeds)
            path = Path(folder) / f"m{suffix}"
            path.write_bytes(damage(data, suffix, rng))
            start = time.process_time()  # a busy machine is no hang
            try:
                counts[run_one(path)] += 1
            except BaseException:
                print(f"case {case} of seed {args.seed} failed", file=sys.stderr)
                Path("fuzz_failure" + suffix).write_bytes(path.read_bytes())
                raise
            slowest = max(slowest, time.process_time() - start)
    jump = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{args.cases} cases, seed {args.seed}: {dict(counts.most_common())}")
    print(f"slowest case {slowest:.2f} s, memory grew by {jump:.0f} MiB")
    return int(slowest > SLOW_S or jump > JUMP_MIB)


if __name__ == "__main__":
    sys.exit(main())
