"""How fast each format is read into float32, as a ratio to safetensors' own reading and upcasting.

The floor is `safe_open(...).get_tensor(key)` copied into a new float32 tensor, for the same
bytes (for scaled formats: of a file with as many stored bytes in the weight's dtype). "ratio" is
the first reading of a file, which hashes every byte; "known" a later one, where hashes of plain
tensors are remembered. Prints a table; `--json FILE` writes the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from orthomerge_core.io.opening import open_source

SIDE = 2048
PLAIN = ("float32", "float16", "bfloat16")
FP8 = ("float8_e4m3fn", "float8_e5m2")
TARGETS = {**dict.fromkeys(PLAIN, 1.15), **dict.fromkeys((*FP8, "fp8_scaled"), 1.3)}


def plain(name: str, count: int) -> tuple[dict[str, torch.Tensor], str]:
    """Matrices of one dtype."""
    dtype = getattr(torch, name)
    return {f"l{i}.weight": torch.randn(SIDE, SIDE).to(dtype) for i in range(count)}, name


def scaled(count: int) -> dict[str, torch.Tensor]:
    """fp8 matrices with a scale each."""
    tensors, _ = plain("float8_e4m3fn", count)
    return tensors | {f"l{i}.weight_scale": torch.tensor(0.01) for i in range(count)}


def marked(count: int, form: str, make: Callable[[], dict[str, torch.Tensor]], **options: object):
    """Quantised layers under ComfyUI's markers."""
    text = json.dumps({"format": form, **options}).encode()
    tensors = {}
    for i in range(count):
        tensors |= {f"l{i}.{suffix}": tensor for suffix, tensor in make().items()}
        tensors[f"l{i}.comfy_quant"] = torch.tensor(list(text), dtype=torch.uint8)
    return tensors


def mxfp8() -> dict[str, torch.Tensor]:
    """One mxfp8 layer."""
    weight = torch.randn(SIDE, SIDE).to(torch.float8_e4m3fn)
    return {
        "weight": weight,
        "weight_scale": torch.full((SIDE, SIDE // 32), 120, dtype=torch.uint8),
    }


def nvfp4() -> dict[str, torch.Tensor]:
    """One nvfp4 layer."""
    return {
        "weight": torch.randint(0, 256, (SIDE, SIDE // 2), dtype=torch.uint8),
        "weight_scale": torch.ones(SIDE, SIDE // 16).to(torch.float8_e4m3fn),
        "weight_scale_2": torch.tensor(0.01),
    }


def int8() -> dict[str, torch.Tensor]:
    """One int8 layer with row scales."""
    weight = torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8)
    return {"weight": weight, "weight_scale": torch.rand(SIDE, 1)}


def gguf_file(path: Path, count: int, kind_name: str) -> None:
    """A GGUF file of random blocks."""
    import gguf

    kind = gguf.GGMLQuantizationType[kind_name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    writer = gguf.GGUFWriter(path, "flux")
    for i in range(count):
        data = np.random.default_rng(i).integers(0, 120, (SIDE, SIDE // block * size), np.uint8)
        writer.add_tensor(f"l{i}.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def files(folder: Path, count: int) -> dict[str, tuple[Path, str]]:
    """format → (file, dtype of the floor's file)."""
    made: dict[str, tuple[Path, str]] = {}

    def keep(name: str, tensors: dict[str, torch.Tensor], floor: str) -> None:
        made[name] = folder / f"{name}.safetensors", floor
        save_file(tensors, made[name][0])

    for name in (*PLAIN, *FP8, "uint8"):
        keep(name, *plain(name, count))
    keep("fp8_scaled", scaled(count), "float8_e4m3fn")
    keep("mxfp8", marked(count, "mxfp8", mxfp8), "float8_e4m3fn")
    keep("nvfp4", marked(count, "nvfp4", nvfp4), "uint8")
    keep("int8_tensorwise", marked(count, "int8_tensorwise", int8), "uint8")
    keep("int8_convrot", marked(count, "int8_tensorwise", int8, convrot=True), "uint8")
    for kind in ("Q8_0", "Q4_K"):
        gguf_file(folder / f"{kind}.gguf", count, kind)
        made[f"gguf_{kind.lower()}"] = folder / f"{kind}.gguf", "uint8"
    return made


def hashes(path: Path) -> Mapping[str, str]:
    """What an earlier reading left."""
    with open_source(path) as source:
        for key in source.entries:
            source.read_raw(key)
        return source.tensor_hashes()


def ours(path: Path, known: Mapping[str, str]) -> None:
    """Open and read everything."""
    with open_source(path) as source:
        source.trust(known)
        for key, entry in source.entries.items():
            if entry.is_float:
                source.read(key)


def floor(path: Path) -> None:
    """The same with safetensors alone."""
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118  # it is no mapping
            stored = file.get_tensor(key)
            # `.to` would return the mapped float32 pages without reading one of them
            torch.empty(stored.shape, dtype=torch.float32).copy_(stored)


def in_turns(
    runs: Sequence[Callable[[], None]], args: argparse.Namespace, forget: Callable[[], None]
) -> list[float]:
    """Best seconds of each, taken in turns so that a busy machine slows all."""
    times: list[list[float]] = [[] for _ in runs]
    clock = time.process_time if args.cpu else time.perf_counter
    for _ in range(args.rounds):
        for call, into in zip(runs, times, strict=True):
            forget()
            start = clock()
            call()
            into.append(clock() - start)
    return [min(some) for some in times]


def drop_from_cache(*paths: Path) -> None:
    """Make the next reading come from the disk (Linux)."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


_MEMORY = """
import resource, sys
from functools import partial
from pathlib import Path
import torch
from orthomerge_core.io.opening import open_source
rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
out = torch.zeros(int(sys.argv[2]))
before = rss()
with open_source(Path(sys.argv[1])) as source:
    for key in source.entries:
        source.read_into(key, out)
print((rss() - before) / 1024)
"""


def memory(path: Path) -> float:
    """MiB that a fresh process grows by while it reads a whole file into one tensor."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", _MEMORY, str(path), str(SIDE * SIDE)]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(made: dict[str, tuple[Path, str]], args: argparse.Namespace) -> list[dict[str, object]]:
    """Print one line per format."""
    rows: list[dict[str, object]] = []
    columns = f"{'MiB/s':>8}{'values M/s':>12}{'floor s':>10}{'ratio':>8}{'known':>8}"
    print(f"{'format':<18}{columns}  target")
    for name, (path, like) in made.items():
        if name == "uint8":
            continue
        base = made[like][0]
        forget = partial(drop_from_cache, path, base) if args.cold else lambda: None
        runs = (partial(ours, path, {}), partial(ours, path, hashes(path)), partial(floor, base))
        first, again, least = in_turns(runs, args, forget)
        size, values = path.stat().st_size, args.count * SIDE * SIDE
        ratio, known, target = first / least, again / least, TARGETS.get(name)
        rows.append(
            {"format": name, "ratio": ratio, "known": known, "target": target, "seconds": first}
        )
        speed = f"{size / first / 2**20:>8.0f}{values / first / 1e6:>12.0f}{least:>10.4f}"
        mark = "" if target is None else f"<= {target}"
        print(f"{name:<18}{speed}{ratio:>8.2f}{known:>8.2f}  {mark}")
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8, help="matrices per file (default 8)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements, best counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="processor time, for a busy machine")
    parser.add_argument("--cold", action="store_true", help="from the disk, not the page cache")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temp:
        made = files(Path(temp), args.count)
        rows = measure(made, args)
        grown = {name: memory(made[name][0]) for name in ("bfloat16", "fp8_scaled", "gguf_q4_k")}
    for name, grew in grown.items():
        print(f"reading {args.count} tensors of {name} grows a process by {grew:.1f} MiB")
    if args.json:
        report = {"rows": rows, "count": args.count, "grown_mib": grown, "cold": args.cold}
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
