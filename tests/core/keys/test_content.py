"""Content hashes: what they depend on, and that nothing is read twice."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.io.hashing import tensor_hash
from orthomerge_core.io.reader import SafetensorsSource
from orthomerge_core.keys.align import align
from orthomerge_core.keys.content import model_content_hash, recall_hashes, remember_hashes
from orthomerge_core.progress import Progress
from tests.fakes import MemorySource


class Counting(Progress):
    def __init__(self):
        self.total, self.done = 0.0, 0.0

    def start(self, total, label):
        self.total += total
        assert "m.safetensors" in label

    def advance(self, amount):
        self.done += amount


def tensors(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return {f"blocks.{i}.w": torch.randn(4, 4, generator=generator) for i in range(3)}


def model(found, name: str = "m.safetensors"):
    source = MemorySource(name, found)
    aligned = align(MemorySource("b", tensors()), [("m", source)], find_duplicates=False)
    return aligned.models[0], source


def test_the_hash_is_that_of_the_weights_not_of_the_name():
    one, _ = model(tensors(1))
    two, _ = model(tensors(1), "renamed.safetensors")
    other, _ = model(tensors(2))
    assert model_content_hash(one) == model_content_hash(two) != model_content_hash(other)
    assert len(model_content_hash(one)) == 32


def test_a_checkpoint_has_the_hash_of_its_diffusion_model():
    prefixed = {f"model.diffusion_model.{k}": v for k, v in tensors(1).items()}
    one, _ = model(tensors(1))
    two, _ = model(prefixed | {"vae.decoder.x": torch.ones(2)})
    assert model_content_hash(one) == model_content_hash(two)


def test_keys_outside_the_set_do_not_count():
    one, _ = model(tensors(1))
    two, _ = model(tensors(1) | {"extra": torch.ones(3)})
    assert model_content_hash(one) == model_content_hash(two)


def test_dtype_and_shape_count():
    one, _ = model({k: torch.zeros(4, 4) for k in tensors()})
    two, _ = model({k: torch.zeros(4, 4, dtype=torch.float16) for k in tensors()})
    assert model_content_hash(one) != model_content_hash(two)


def test_only_what_is_unknown_is_read(tmp_path):
    memo = HashMemo(tmp_path)
    first, source = model(tensors(1))
    first.read_into("blocks.0.w", torch.empty(16))
    source.reads.clear()
    progress = Counting()
    digest = model_content_hash(first, memo, progress)
    assert [key for key, _, _ in source.reads] == ["blocks.1.w", "blocks.2.w"]
    assert progress.total == progress.done == 2 * 64
    again, source = model(tensors(1))
    assert model_content_hash(again, HashMemo(tmp_path)) == digest
    assert source.reads == []


def test_hashes_left_by_reading_can_be_remembered():
    memo = HashMemo(None)
    first, _ = model(tensors(1))
    for key in tensors():
        first.read_into(key, torch.empty(16))
    remember_hashes(first, memo)
    again, source = model(tensors(1))
    assert model_content_hash(again, memo) == model_content_hash(first)
    assert source.reads == []


def test_an_earlier_read_is_recalled(tmp_path):
    path, memo = tmp_path / "m.safetensors", HashMemo(None)
    save_file(tensors(1), path)
    for _ in range(2):
        with SafetensorsSource(path) as source:
            aligned = align(
                MemorySource("b", tensors()), [("m", source)], find_duplicates=False
            ).models
            recall_hashes(aligned, None)
            assert not source.tensor_hashes()
            recall_hashes(aligned, memo)
            known = dict(source.tensor_hashes())
            digest = model_content_hash(aligned[0], memo)
            assert source.tensor_hashes() == {k: tensor_hash(t) for k, t in tensors(1).items()}
    assert known == source.tensor_hashes()
    save_file(tensors(2), path)
    with SafetensorsSource(path) as source:
        aligned = align(MemorySource("b", tensors()), [("m", source)], find_duplicates=False).models
        recall_hashes(aligned, memo)
        assert not source.tensor_hashes()
        assert model_content_hash(aligned[0], memo) != digest
