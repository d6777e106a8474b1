"""A model in several files reads as one, and what is missing or contradictory is named."""

import json

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import FileChangedError, FileError, HeaderError
from orthomerge_core.io.opening import is_readable_name, open_source

PARTS = ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")
A, B = torch.randn(4, 4), torch.randn(3).bfloat16()


@pytest.fixture
def folder(tmp_path):
    save_file({"a": A, "unlisted": A.clone()}, tmp_path / PARTS[0], {"format": "pt"})
    save_file({"b": B}, tmp_path / PARTS[1])
    return tmp_path


def index(folder, where, name="m.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder / name


def test_with_an_index(folder):
    path = index(folder, {"a": PARTS[0], "b": PARTS[1]})
    for chosen in (path, folder / PARTS[0], folder / PARTS[1]):
        with open_source(chosen) as source:
            assert list(source.entries) == ["a", "b"] and source.metadata == {"format": "pt"}
            assert torch.equal(source.read("a"), A) and torch.equal(source.read_raw("b"), B)
            assert set(source.tensor_hashes()) == {"a", "b"}
            assert len(source.fingerprint()) == 32


def test_the_index_of_a_variant(folder):
    """Diffusers names it so beside `m.fp16-00001-of-00002.safetensors`."""
    path = index(folder, {"a": PARTS[0], "b": PARTS[1]}, "m.safetensors.index.fp16.json")
    with open_source(path) as source:
        assert list(source.entries) == ["a", "b"]


def test_without_an_index(folder):
    with open_source(folder / PARTS[0]) as source:
        assert set(source.entries) == {"a", "unlisted", "b"}


def test_quantized_across_files(folder):
    weight = torch.randn(4, 4).to(torch.float8_e4m3fn)
    save_file({"l.weight": weight}, folder / PARTS[0])
    save_file({"l.weight_scale": torch.tensor(0.5)}, folder / PARTS[1])
    with open_source(folder / PARTS[0]) as source:
        assert torch.equal(source.read("l.weight"), weight.float() * 0.5)


def test_a_missing_part(folder):
    (folder / PARTS[1]).unlink()
    with pytest.raises(FileError, match=f'one is missing: expected "{PARTS[1]}" beside it'):
        open_source(folder / PARTS[0])


def test_the_same_tensor_twice(folder):
    save_file({"a": A}, folder / PARTS[1])
    with pytest.raises(HeaderError, match='has the tensor "a" in two of its files'):
        open_source(folder / PARTS[0])


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"a": PARTS[1]}, 'puts "a" into a file that lacks it'),
        ({"a": "../secret.safetensors"}, "names a file that cannot belong to it"),
        ({"a": "/etc/passwd"}, "expected a .safetensors file in the same folder"),
        ({"a": 7}, "received 7"),
        ({}, "lists no tensors"),
        ([], "lists no tensors"),
    ],
)
def test_lying_indices(folder, where, words):
    with pytest.raises(HeaderError) as caught:
        open_source(index(folder, where))
    assert words in str(caught.value)


def test_a_name_that_no_file_can_have(folder, tmp_path):
    endless = "a" * 400
    with pytest.raises(FileError, match=r"one is missing: expected .a{400}"):
        open_source(index(folder, {"a": f"{endless}.safetensors"}))
    for name in (f"{endless}.safetensors", f"{endless}-00001-of-00002.safetensors"):
        with pytest.raises(FileError, match="cannot be opened: received File name too long"):
            open_source(tmp_path / name)


def test_index_that_is_no_json(folder):
    (folder / "m.safetensors.index.json").write_text("{")
    with pytest.raises(HeaderError, match=r"index .* is not valid JSON"):
        open_source(folder / PARTS[0])


def test_a_million_parts(folder):
    save_file({"a": A}, folder / "x-00001-of-999999.safetensors")
    with pytest.raises(HeaderError, match="expected 1 to 1000, received 999999"):
        open_source(folder / "x-00001-of-999999.safetensors")


def test_a_part_that_vanishes(folder):
    with open_source(folder / PARTS[0]) as source:
        (folder / PARTS[1]).unlink()
        with pytest.raises(FileChangedError, match="vanished"):
            source.check_unchanged()


def test_a_set_counts_as_one_model():
    assert is_readable_name(PARTS[0]) and not is_readable_name(PARTS[1])
    assert is_readable_name("A.SFT") and is_readable_name("b.gguf")
    assert not is_readable_name("c.ckpt") and not is_readable_name("m.safetensors.index.json")
