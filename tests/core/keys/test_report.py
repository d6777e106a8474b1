"""The compatibility report in words and as JSON."""

from __future__ import annotations

import json

import torch

from orthomerge_core.keys.align import align
from orthomerge_core.keys.report import compat_json, compat_text, coverage_words, reports
from tests.fakes import MemorySource


def tensors(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return {f"blocks.{i}.w": torch.randn(4, 4, generator=generator) for i in range(4)}


def aligned():
    base = MemorySource("base.safetensors", tensors(0))
    twin = MemorySource("twin.safetensors", tensors(1))
    part = {k: v for k, v in tensors(2).items() if not k.endswith("3.w")}
    models = [
        ("good", MemorySource("good.safetensors", tensors(1))),
        ("twin", twin),
        ("part", MemorySource("part.safetensors", part)),
        ("lora", MemorySource("lora.safetensors", {"a.lora_up.weight": torch.zeros(1)})),
    ]
    return align(base, models)


def test_text_says_the_main_thing_first():
    text = compat_text(aligned())
    first, *rest = text.split("\n\n")
    assert first == (
        "3 of 4 models fit the base base.safetensors (unknown architecture, 4 tensors to merge). "
        'Left out: "lora". "twin" has the same weights as "good".'
    )
    assert [p.splitlines()[0] for p in rest] == [
        "base (base.safetensors): unknown architecture, 4 tensors to merge.",
        "good (good.safetensors): same architecture as the base.",
        "twin (twin.safetensors): same architecture as the base.",
        "part (part.safetensors): same architecture as the base, but 1 of its 4 tensors is not "
        "usable here.",
        "lora (lora.safetensors) [left out]: a LoRA for another architecture: none of its 1 "
        "layers is one of the base's.",
    ]
    assert "coverage 75.0 %: 3 matched, 1 missing" in rest[3]
    assert "1 tensor is missing (blocks.3.w): no change there." in rest[3]


def test_json_is_plain_and_complete():
    found = json.loads(json.dumps(compat_json(aligned())))
    assert [m["name"] for m in found["models"]] == ["good", "twin", "part"]
    assert found["models"][1]["duplicate_of"] == "good"
    assert found["skipped"][0]["ok"] is False
    assert found["architecture"] == "generic" and found["keys"] == 4
    assert len(reports(aligned())) == 5


def test_coverage_never_rounds_to_whole():
    shares = (0.0, 0.0001, 0.5, 0.99999, 1.0)
    assert [coverage_words(s) for s in shares] == ["0 %", "0.1 %", "50.0 %", "99.9 %", "100 %"]
