"""Content hashes of small fixed merges, written down once: a change of any byte is seen here.

The inputs are made by integer arithmetic, without a random generator. Files are bf16 unless
the name says otherwise, and so are the results: the last bits in which processors may differ are
rounded away. A change here means that the same recipe over the same files gives other weights than
before, so that hashes in people's files no longer repeat.
"""

from __future__ import annotations

import pytest
import torch

from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.methods.registry import all_methods, get_method
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import SHAPES, live_spec, recipe_for

METHODS = {
    "add_cosine_a": "a91560c00c3da088607d03e9f2e785ff",
    "add_cosine_b": "3e25ca0fd919b6a480bf34057d8c6dcb",
    "average": "65b7a5ce1f2d4f84cb39b9792ae93a28",
    "breadcrumbs": "e67c7764463d564435a03d1215b20358",
    "dare": "5b38738299322c6720c9037ebf6cfc6f",
    "della": "317ffc5ddc95fa4bacda3c14a0b77613",
    "geometric_median": "016977aeb01162a5b485500985f70229",
    "iso_c": "6f90b08264af953304996a1eeefdb7d1",
    "karcher": "f2bdd9934807ad9edf17e7dabb0f7169",
    "masked_projection": "138a5299564791dbfaae3289e65f4048",
    "model_stock": "9ad7f1e033040dad9182cac01efdb5b8",
    "multislerp": "e3c383bbacdeeebf7496f6bca9a0a01b",
    "orthogonal_projection": "0e4a0f1719750731102553afe2fb64d2",
    "orthomerge": "48a219e879cd32088b964d1ab7faacb6",
    "sce": "a730b6bb9f7fd24fb832d434ba855697",
    "slerp": "f6cf9eab3243012ff7aca1aad941c7e7",
    "svc": "f8e4f4f846c33f8bad6b98aa980eff8f",
    "task_arithmetic": "f6a7d23d1f7d07f829d657c9a215bd01",
    "ties": "710af2b6bbf1eda2085e10e1e32d2fb4",
    "train_difference": "75bf568a0fd470c62840aba3265efc6e",
    "tsv_m": "fb2efe750d7969d42641ee54d0da7931",
}
OTHERS = {
    "average in fp16": "6aa87af5cc79fa6397c6e04f9998d106",
    "base in fp16": "be68542a25e87096645f40f20a6da69a",
    "base in fp32": "14a875d4d4b214e211855d4d96d82237",
    "dual projection": "037374b9f3525ee74fa021db27119b2f",
    "fp16 output": "d1c12cae81d6b718899935997a064fbb",
    "fp32 output": "c6519a0395f3f1955c567228a69116dd",
    "fp8 output": "bb774ed793bfa0d58b79da47c2ab672c",
    "orthomerge, conflict aware": "a776fa02513e7d17bf6af8b9d0c76f77",
    "orthomerge, summed": "36132d02fd8cc2ffa484b90efb67d0de",
    "slerp per row": "205caeb28b591f0f568ae06e7779fa00",
    "symmetric projection": "cdc0d7e2741ca0f08c4e8fd96eb71678",
    "texture": "90d27f8cb551dcb78c918629baf13c94",
    "texture in orthomerge": "483066be94afe0ee4793c19ef0df9c74",
}


def numbers(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Values in [−1, 1) from a hash of the place; exact in float32."""
    count = int(torch.Size(shape).numel())
    place = torch.arange(1, count + 1, dtype=torch.int64) + 1_000_003 * seed
    mixed = place * 2_654_435_761 % (1 << 32)
    for factor in (73_244_475, 73_244_475, 40_503):
        mixed = ((mixed >> 16) ^ mixed) * factor % (1 << 32)
    mixed = mixed >> 12
    return ((mixed.double() - (1 << 19)) / (1 << 19)).float().reshape(shape)


def fixed_family(dtype: torch.dtype) -> dict[str, dict[str, torch.Tensor]]:
    """A base, two fine-tunes and a child of the first, moved by about 1/32."""
    shapes = SHAPES | {"blocks.2.square.weight": (48, 48), "blocks.2.fp8.weight": (32, 64)}
    base = {key: numbers(shape, i).to(dtype) for i, (key, shape) in enumerate(shapes.items())}

    def moved(parent: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
        return {
            key: (tensor.float() + numbers(tuple(tensor.shape), seed + i) / 32).to(dtype)
            for i, (key, tensor) in enumerate(parent.items())
        }

    a = moved(base, 100)
    family = {"base": base, "a": a, "b": moved(base, 200), "child": moved(a, 300)}
    step = torch.tensor([7], dtype=torch.int64)
    return {name: tensors | {"step": step} for name, tensors in family.items()}


def content_hash(dtype: torch.dtype = torch.bfloat16, **fields) -> str:
    spec = live_spec(fixed_family(dtype))
    rows = (Row("a", alpha=0.75), Row("b", alpha=-0.5, repeat=2), Row("child", "a"))
    if get_method(fields.get("method", "task_arithmetic")).max_rows == 1:
        rows = (Row("a", alpha=0.75),)
    with plan_merge(recipe_for(spec, *rows, **fields), spec) as plan:
        return run_merge(plan).report.content_hash


def test_every_method_is_pinned():
    assert set(METHODS) == set(all_methods())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_gives_the_bytes_it_always_gave(method):
    assert content_hash(method=method) == METHODS[method]


CASES = {
    "base in fp32": {"dtype": torch.float32},
    "base in fp16": {"dtype": torch.float16},
    "average in fp16": {"dtype": torch.float16, "method": "average"},
    "fp8 output": {"output_dtype": "fp8_e4m3fn"},
    "fp16 output": {"output_dtype": "fp16"},
    "fp32 output": {"output_dtype": "fp32"},
    "texture": {"texture_boost": TextureBoost("child", 0.25)},
    "texture in orthomerge": {"texture_boost": TextureBoost("b", 0.25), "method": "orthomerge"},
    "symmetric projection": {
        "method": "orthogonal_projection",
        "options": {"variant": "symmetric"},
    },
    "dual projection": {"method": "orthogonal_projection", "options": {"variant": "dual"}},
    "orthomerge, conflict aware": {"method": "orthomerge", "options": {"conflict_aware": True}},
    "orthomerge, summed": {
        "method": "orthomerge",
        "options": {"residual_agg": "sum", "theta_agg": "median"},
    },
    "slerp per row": {"method": "slerp", "options": {"slerp_axis": "row"}},
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_case_gives_the_bytes_it_always_gave(case):
    assert content_hash(**CASES[case]) == OTHERS[case]
