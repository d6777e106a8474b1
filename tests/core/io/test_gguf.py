"""GGUF against the gguf package's own reader and decoder."""

import struct
import sys

import numpy as np
import pytest
import torch

from orthomerge_core.errors import FileChangedError, HeaderError, UnsupportedError
from orthomerge_core.io.opening import open_source

gguf = pytest.importorskip("gguf")
TYPES = sorted(kind for kind in gguf.quants._type_traits if kind != gguf.GGMLQuantizationType.BF16)


def random_blocks(kind, rows=6, blocks=3):
    """Any bytes are valid blocks; finite scales keep the values comparable."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    data = np.random.default_rng(int(kind)).integers(0, 256, (rows, blocks * size), np.uint8)
    return data & 0x7B


def write(path, tensors, shapes=None, arch="flux"):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_array("tokenizer.words", ["a"] * 100)
    writer.add_array("numbers", list(range(100)))
    for key, shape in (shapes or {}).items():
        writer.add_array(f"comfy.gguf.orig_shape.{key}", list(shape))
    for key, (data, kind) in tensors.items():
        writer.add_tensor(key, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("step", [71, 10**6])
def test_every_type_is_bit_exact(tmp_path, kind, step):
    data = random_blocks(kind)
    write(tmp_path / "m.gguf", {"l.weight": (data, kind)})
    with np.errstate(all="ignore"):
        expected = torch.from_numpy(gguf.dequantize(data, kind).astype(np.float32))
    with open_source(tmp_path / "m.gguf") as source:
        entry = source.entries["l.weight"]
        assert entry.shape == tuple(expected.shape) and entry.quant == f"gguf_{kind.name.lower()}"
        assert entry.is_float and entry.n_bytes == data.size
        got = torch.empty(entry.numel)
        for low in range(0, len(got), step):
            source.read_into("l.weight", got[low : low + step], low)
        assert torch.equal(got.view(expected.shape).view(torch.int32), expected.view(torch.int32))
        assert len(source.tensor_hashes()["l.weight"]) == 32


def test_no_type_that_the_package_decodes_is_left_out():
    plain = {"F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64"}
    for kind in gguf.GGMLQuantizationType:
        block = np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8)
        try:
            gguf.dequantize(block, kind)
        except NotImplementedError:
            assert kind not in TYPES
        else:
            assert kind in TYPES or kind.name in plain


def test_plain_types_names_and_fields(tmp_path):
    wide, narrow = torch.randn(4, 6), torch.randn(3).bfloat16()
    bits = narrow.view(torch.int16).numpy()
    tensors = {
        "model.diffusion_model.a": (wide.numpy(), None),
        "h": (wide.half().numpy(), None),
        "b": (bits.view(np.uint8), gguf.GGMLQuantizationType.BF16),
    }
    write(tmp_path / "m.gguf", tensors)
    with open_source(tmp_path / "m.gguf") as source:
        assert source.metadata["general.architecture"] == "flux"
        assert torch.equal(source.read("model.diffusion_model.a"), wide)
        assert torch.equal(source.read("h"), wide.half().float())
        assert torch.equal(source.read("b"), narrow.float())
        assert source.entries["b"].dtype == "BF16" and source.entries["b"].quant is None


def test_original_shapes(tmp_path):
    kind = gguf.GGMLQuantizationType.Q8_0
    data = random_blocks(kind, rows=4, blocks=1)  # 4 x 32 elements
    write(tmp_path / "m.gguf", {"conv": (data, kind)}, {"conv": (8, 4, 2, 2)})
    with open_source(tmp_path / "m.gguf") as source:
        assert source.read("conv").shape == (8, 4, 2, 2)
    write(tmp_path / "bad.gguf", {"conv": (data, kind)}, {"conv": (8, 4, 2)})
    with pytest.raises(HeaderError, match=r'tensor "conv" in .* contradicts'):
        open_source(tmp_path / "bad.gguf")


def test_agrees_with_the_reader_of_gguf(tmp_path):
    kinds = (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q5_1)
    write(tmp_path / "m.gguf", {f"t{kind}": (random_blocks(kind), kind) for kind in kinds})
    theirs = {t.name: t for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    with open_source(tmp_path / "m.gguf") as source:
        for key, entry in source.entries.items():
            assert entry.shape == tuple(int(n) for n in reversed(theirs[key].shape))
            values = gguf.dequantize(theirs[key].data, theirs[key].tensor_type)
            assert np.array_equal(source.read(key).numpy(), values.reshape(entry.shape))


def test_a_file_is_known_by_its_bytes(tmp_path):
    kind = gguf.GGMLQuantizationType.Q8_0
    for tensors in ({"a": (np.ones(3, "f4"), None)}, {"q": (random_blocks(kind), kind)}):
        write(tmp_path / "m.gguf", tensors)
        with open_source(tmp_path / "m.gguf") as source, open_source(tmp_path / "m.gguf") as again:
            assert source.fingerprint() == again.fingerprint()
            source.check_unchanged()
            write(tmp_path / "m.gguf", {"b": (np.ones(400, "f4"), None)})
            with pytest.raises(FileChangedError, match=r'"m\.gguf" changed after it was opened'):
                source.check_unchanged()


def test_not_dequantized_means_left_out(tmp_path):
    kind = gguf.GGMLQuantizationType.Q8_0
    write(tmp_path / "m.gguf", {"q": (random_blocks(kind), kind), "p": (np.ones(3, "f4"), None)})
    with open_source(tmp_path / "m.gguf", dequantize=False) as source:
        assert list(source.entries) == ["p"]
        assert "quantized (gguf_q8_0)" in source.dropped["q"]


def header(tensors=b"", n_tensors=0, fields=b"", n_fields=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_fields) + fields + tensors


def text(value):
    return struct.pack("<Q", len(value)) + value


def tensor(name=b"a", sizes=(4,), kind=0, offset=0):
    return (
        text(name)
        + struct.pack("<I", len(sizes))
        + struct.pack(f"<{len(sizes)}Q", *sizes)
        + struct.pack("<IQ", kind, offset)
    )


WRONG = {
    "other": (b"GGUX" + b"\0" * 30, "is not a GGUF file"),
    "empty": (b"", "is not a GGUF file"),
    "short": (b"GGUF\3\0", "truncated in its header, or the header lies"),
    "many fields": (header(n_fields=2**63), "too many fields: expected at most 10000"),
    "many tensors": (header(n_tensors=2**63), "too many tensors: expected at most 100000"),
    "long name": (header(struct.pack("<Q", 2**62), 1), "truncated in its header"),
    "name": (header(tensor(b"\xff"), 1), "name that is not UTF-8"),
    "line end": (header(tensor(b"a\nb"), 1), "impossible tensor name"),
    "field type": (header(fields=text(b"k") + struct.pack("<I", 77), n_fields=1), "unknown type"),
    "nested": (
        header(fields=text(b"k") + struct.pack("<IIQ", 9, 9, 1), n_fields=1),
        "array of arrays",
    ),
    "big array": (
        header(fields=text(b"k") + struct.pack("<IIQ", 9, 10, 2**61), n_fields=1),
        "truncated in its header",
    ),
    "axes": (header(tensor(sizes=(1,) * 9), 1), "impossible number of axes"),
    "shape": (header(tensor(sizes=(2**40, 2**40)), 1), "impossible shape"),
    "twice": (header(tensor() + tensor(), 2), 'has the tensor "a" twice'),
    "data": (header(tensor(sizes=(400,)), 1), 'is truncated in tensor "a": expected'),
    "overlap": (
        header(tensor() + tensor(b"b", offset=8), 2) + b"\0" * 64,
        'tensors "a" and "b" in "m.gguf" overlap',
    ),
    "blocks": (header(tensor(kind=8), 1) + b"\0" * 64, "does not fill whole blocks"),
    "alignment": (
        header(fields=text(b"general.alignment") + struct.pack("<II", 4, 0), n_fields=1),
        "impossible alignment",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_lie_has_its_own_words(tmp_path, case):
    data, words = WRONG[case]
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(HeaderError) as caught:
        open_source(tmp_path / "m.gguf")
    assert words in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("version", [1, 0x03000000])
def test_other_versions(tmp_path, version):
    (tmp_path / "m.gguf").write_bytes(header(version=version))
    with pytest.raises(UnsupportedError, match="unknown GGUF version: expected 2 or 3, little-end"):
        open_source(tmp_path / "m.gguf")


@pytest.mark.parametrize(("kind", "name"), [(9, "Q8_1"), (250, "number 250")])
def test_types_that_cannot_be_decoded(tmp_path, kind, name):
    (tmp_path / "m.gguf").write_bytes(header(tensor(sizes=(256,), kind=kind), 1) + b"\0" * 999)
    with pytest.raises(UnsupportedError, match=f"cannot be decoded: received {name}"):
        open_source(tmp_path / "m.gguf")


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    (tmp_path / "m.gguf").write_bytes(header(tensor(kind=8, sizes=(32,)), 1) + b"\0" * 99)
    with pytest.raises(UnsupportedError, match=r"Install it: pip install gguf\."):
        open_source(tmp_path / "m.gguf")
    (tmp_path / "p.gguf").write_bytes(header(tensor(), 1) + b"\0" * 99)
    with open_source(tmp_path / "p.gguf") as source:
        assert torch.equal(source.read("a"), torch.zeros(4))
