"""Builds files of each format from its grammar, with a lie here and there, and opens them.

Unlike `fuzz_headers`, which damages valid files, every field is drawn anew: mostly what belongs
there, sometimes what does not. Each case must end in values or a named error, within two seconds
of CPU time and 300 MiB: `python benchmarks/fuzz_formats.py --cases 20000`. The tests run a few
hundred of each format.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from orthomerge_core.errors import OrthoMergeError
from orthomerge_core.io.dtypes import DTYPES
from orthomerge_core.io.opening import open_source

__all__ = ["BUILDERS", "exercise"]

CPU_S, MEMORY_MIB = 2.0, 300
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**31, 2**53, 2**63, 2**64, 10**30, 1e308, "", "x", "\0", "\u202e"),
    *([], [[]], {}, {"a": []}, [1] * 70, "\ud800", "../m.safetensors", "m.safetensors"),
)
KEYS = ("a", "l.weight", "l.bias", "blocks.².weight", "é", "l.weight_scale", "l.scale_weight")
SCHEMES = ("nvfp4", "mxfp8", "int8_tensorwise", "float8_e4m3fn", "awq_w4a16", "asym_w4a8_int8")


class Draw:
    """What a generator decides by; `lies` is the share of decisions that go wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  reproducible on purpose
        self.lies = self.random.choice((0.0, 0.02, 0.1, 0.4))

    def lie(self) -> bool:
        """Whether this field is to be wrong."""
        return self.random.random() < self.lies

    def one(self, options: Any) -> Any:
        """One of the options."""
        return self.random.choice(list(options))

    def odd(self, right: Any) -> Any:
        """The right value, or one that does not belong there."""
        return self.one(ODD) if self.lie() else right

    def small(self, most: int = 4) -> int:
        """A small number."""
        return self.random.randint(0, most)


def header_json(draw: Draw, tree: dict[str, Any]) -> bytes:
    """A header as text: with duplicate keys, other numbers, other encodings."""
    text = json.dumps(tree)
    if draw.lie():
        text = text.replace('"a"', '"l.bias"')  # perhaps twice
    if draw.lie():
        text = draw.one((text[:-1], text + "]", text.replace("0", "0" * 5000, 1), "[" * 9999))
    if draw.lie():
        text = text.replace("1", draw.one(("NaN", "1e999", "-0", "1" * 5000)), 1)
    raw = text.encode("utf-8", "surrogatepass")
    return draw.one((b"\xff" + raw, raw + b" " * 9)) if draw.lie() else raw


def tensors(draw: Draw, keys: Any = KEYS) -> tuple[dict[str, Any], int]:
    """Headers of a few tensors, and the bytes that they take."""
    tree: dict[str, Any] = {}
    end = 0
    for key in draw.random.sample(list(keys), draw.random.randint(0, len(keys))):
        dtype = draw.one(DTYPES)
        shape = [draw.small() for _ in range(draw.small(3))]
        if draw.lie():
            shape = [draw.one((2**40, 2**62, 1, 0)) for _ in range(draw.one((1, 2, 64, 65)))]
        bits = DTYPES[dtype].bits
        for size in shape:
            bits *= size
        stop = end + min(bits // 8, 1 << 12)
        item = {
            "dtype": draw.odd(dtype),
            "shape": draw.odd(shape),
            "data_offsets": draw.odd([draw.odd(end), draw.odd(stop)]),
        }
        if draw.lie():
            item.pop(draw.one(item))
        tree[key] = draw.odd(item)
        end = stop
    if draw.lie():
        tree[draw.one(("\0", "x" * 1001, "\u202e", "\ud800"))] = draw.one(ODD)
    return tree, end


def safetensors(draw: Draw, folder: Path) -> Path:
    """A plain file."""
    tree, size = tensors(draw)
    if draw.random.random() < 0.5:
        tree["__metadata__"] = draw.odd({"k": draw.odd("v")})
    return _store(draw, folder / "m.safetensors", header_json(draw, tree), size)


def marker(draw: Draw, folder: Path) -> Path:
    """A file with quantized layers, their scales and what says so."""
    scheme = draw.odd(draw.one(SCHEMES))
    options = {"format": scheme, "group_size": draw.odd(16), "num_experts": draw.odd(1)}
    for name in ("group_size", "num_experts"):
        if draw.random.random() < 0.7:
            options.pop(name)
    text = json.dumps(draw.odd(options)).encode("utf-8", "surrogatepass")
    rows, cols = draw.one((1, 4, 16, 32)), draw.one((1, 4, 16, 32))
    parts: dict[str, tuple[str, list[int]]] = {
        "l.weight": (draw.one(("U8", "I8", "F8_E4M3", "F8_E5M2", "BF16")), [rows, cols]),
        "l.weight_scale": (draw.one(("F32", "U8", "F8_E4M3")), draw.one(([], [1], [rows, 1]))),
    }
    for name in ("weight_scale_2", "input_scale", "weight_zero", "pre_quant_scale"):
        if draw.random.random() < 0.3:
            parts[f"l.{name}"] = ("F32", [])
    tree: dict[str, Any] = {}
    if draw.random.random() < 0.5:
        parts["l.comfy_quant"] = ("U8", [len(text)])
    else:
        layers = {"layers": draw.odd({"l": draw.odd(options)})}
        tree["__metadata__"] = {"_quantization_metadata": json.dumps(draw.odd(layers))}
    data = b""
    for key, (dtype, shape) in parts.items():
        numel = 1
        for size in shape:
            numel *= size
        body = (
            text
            if key == "l.comfy_quant"
            else draw.random.randbytes(numel * DTYPES[dtype].bits // 8)
        )
        offsets = [len(data), len(data) + len(body)]
        tree[key] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += body
    raw = header_json(draw, tree)
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def index(draw: Draw, folder: Path) -> Path:
    """Two shards and their index, which may name others."""
    where: dict[str, Any] = {}
    for number in (1, 2):
        name = f"m-0000{number}-of-00002.safetensors"
        tree, size = tensors(draw, KEYS[:3] if number == 1 else KEYS[2:5])
        _store(draw, folder / name, header_json(draw, tree), size)
        where |= {key: draw.odd(name) for key in tree if key != "l.bias" or number == 1}
    tree = {"metadata": draw.odd({"total_size": draw.odd(1)}), "weight_map": draw.odd(where)}
    target = folder / "m.safetensors.index.json"
    if draw.random.random() < 0.8:
        target.write_bytes(header_json(draw, draw.one(({}, tree)) if draw.lie() else tree))
    return draw.one((target, folder / "m-00001-of-00002.safetensors"))


def gguf(draw: Draw, folder: Path) -> Path:
    """A GGUF file of any version, fields and types."""

    def number(code: str, right: int) -> bytes:
        value = draw.one((0, 1, 2**31, 2**32 - 1)) if draw.lie() else right
        if code == "Q" and draw.lie():
            value = draw.one((2**40, 2**63, 2**64 - 1, 12_000_000))
        return struct.pack("<" + code, value)

    def text(right: str) -> bytes:
        raw = draw.one((b"\xff", b"a\n", b"", b"x" * 2000)) if draw.lie() else right.encode()
        return number("Q", len(raw)) + raw

    def value(kind: int) -> bytes:
        if kind == 8:
            return text("words")
        if kind == 9:
            inner, count = draw.one((0, 5, 6, 8, 10, 9)), draw.small(80)
            body = b"".join(value(inner) for _ in range(count)) if inner != 9 else b""
            return number("I", inner) + number("Q", count) + body
        width = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}.get(kind, 4)
        return draw.random.randbytes(width)

    def field(name: str) -> bytes:
        kind = draw.one((*range(13), 13, 99)) if draw.lie() else draw.one((4, 6, 8, 9))
        return text(name) + number("I", kind) + value(kind)

    names = ("general.alignment", "general.architecture", "comfy.gguf.orig_shape.t0", "words")
    fields = [field(n) for n in names if draw.random.random() < 0.3]
    body, offset = b"", 0
    count = draw.small(4)
    for place in range(count):
        kind = draw.one((*range(45), 2**31)) if draw.lie() else draw.one((0, 1, 2, 8, 12, 30))
        shape = [draw.one((32, 256, 1, 0)) for _ in range(draw.small(3))]
        axes = b"".join(number("Q", size) for size in shape)
        body += text(f"t{place}") + number("I", len(shape)) + axes
        body += number("I", kind) + number("Q", offset)
        offset += 1 << 12
    head = (b"GGUF" if not draw.lie() else b"FUGG") + number("I", 3)
    head += number("Q", count) + number("Q", len(fields))
    path = folder / "m.gguf"
    with path.open("wb") as file:
        file.write(head + b"".join(fields) + body)
        file.truncate(file.tell() + draw.one((0, 1, 1 << 16, 1 << 27)))
    return path


def _store(draw: Draw, path: Path, raw: bytes, size: int) -> Path:
    length = draw.one((0, 1, 2**31, 2**63, len(raw) + 1)) if draw.lie() else len(raw)
    data = draw.random.randbytes(min(size, 1 << 16))
    path.write_bytes(struct.pack("<Q", length) + raw + (data[:-1] if draw.lie() else data))
    if draw.lie():
        with path.open("r+b") as file:
            file.truncate(draw.one((0, 7, 9, 1 << 27)))
    return path


BUILDERS: dict[str, Callable[[Draw, Path], Path]] = {
    "safetensors": safetensors,
    "marker": marker,
    "index": index,
    "gguf": gguf,
}


def exercise(form: str, seed: int, folder: Path) -> str:
    """Build a case, open it and read it; "read", or the name of the error that it ended in."""
    for old in folder.iterdir():
        old.unlink()
    path = BUILDERS[form](Draw(seed), folder)
    try:
        with open_source(path) as source:
            for key, entry in source.entries.items():
                if entry.is_float and entry.numel <= 1 << 16:
                    source.read(key)
                elif entry.n_bytes <= 1 << 16:
                    source.read_raw(key)
            source.check_unchanged()
    except OrthoMergeError as error:
        str(error).encode()
        if str(folder) in str(error) or "\n" in str(error):
            raise AssertionError(f"{form} {seed}: {error}") from error
        return type(error).__name__
    return "read"


def main() -> int:
    """Run the cases, print a table, and fail on the first that breaks a rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="of each format")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--format", choices=BUILDERS, action="append")
    options = parser.parse_args()
    broken = 0
    for form in options.format or BUILDERS:
        ends: Counter[str] = Counter()
        slowest, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(options.first, options.first + options.cases):
                begun = time.process_time()
                try:
                    ends[exercise(form, seed, Path(folder))] += 1
                except Exception as error:
                    broken += 1
                    ends[f"! {type(error).__name__}"] += 1
                    print(f"{form} {seed}: {type(error).__name__}: {str(error)[:200]}")
                spent = time.process_time() - begun
                slowest = max(slowest, spent)
                if spent > CPU_S:
                    broken += 1
                    print(f"{form} {seed}: {spent:.1f} s")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        broken += grown > MEMORY_MIB
        print(f"{form}: {dict(ends)}; slowest {slowest:.2f} s of CPU, memory +{grown:.0f} MiB")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
