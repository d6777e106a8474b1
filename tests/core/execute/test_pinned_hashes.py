"""Content hashes of small fixed merges, written down once: a change of any byte is seen here.

The inputs are made by integer arithmetic, without a random generator. Files are bf16 unless
the name says otherwise, and so are the results: the last bits in which processors may differ are
rounded away. A change here means that the same recipe over the same files gives other weights than
before, so that hashes in people's files no longer repeat.

Methods that decompose matrices call LAPACK, whose last bits depend on the processor; now and then
one of them decides how a weight is rounded. For these, sums over the merged change are pinned
instead, far within the steps of bf16.
"""

from __future__ import annotations

import pytest
import torch

from orthomerge_core.execute.output.report import Merged
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
    "karcher": "f2bdd9934807ad9edf17e7dabb0f7169",
    "masked_projection": "138a5299564791dbfaae3289e65f4048",
    "model_stock": "9ad7f1e033040dad9182cac01efdb5b8",
    "multislerp": "e3c383bbacdeeebf7496f6bca9a0a01b",
    "orthogonal_projection": "0e4a0f1719750731102553afe2fb64d2",
    "sce": "a730b6bb9f7fd24fb832d434ba855697",
    "slerp": "f6cf9eab3243012ff7aca1aad941c7e7",
    "task_arithmetic": "f6a7d23d1f7d07f829d657c9a215bd01",
    "ties": "710af2b6bbf1eda2085e10e1e32d2fb4",
    "train_difference": "75bf568a0fd470c62840aba3265efc6e",
}
SUMS: dict[str, tuple[float, ...]] = {
    "iso_c": (2.19487, -1.88607, -0.983307, 1.19289, -1.12051),
    "orthomerge": (0.772439, -0.269502, 0.138421, 0.574639, -0.0741358),
    "svc": (1.32717, -0.391882, -0.630453, 0.534101, -0.320875),
    "tsv_m": (1.93224, 0.589205, -0.634169, 1.74951, -0.197561),
    "orthomerge, conflict aware": (0.615212, -0.227957, 0.00325966, 0.126364, -0.0600719),
    "orthomerge, summed": (2.05794, -0.00118744, 0.00242317, -0.907934, -0.714726),
    "texture in orthomerge": (0.618715, -0.782052, -0.196201, 0.297257, -0.073405),
}
"""Case → sums over the merged change, for methods that decompose matrices; see `sums`."""
OTHERS = {
    "average in fp16": "6aa87af5cc79fa6397c6e04f9998d106",
    "base in fp16": "be68542a25e87096645f40f20a6da69a",
    "base in fp32": "14a875d4d4b214e211855d4d96d82237",
    "dual projection": "037374b9f3525ee74fa021db27119b2f",
    "fp16 output": "d1c12cae81d6b718899935997a064fbb",
    "fp32 output": "c6519a0395f3f1955c567228a69116dd",
    "fp8 output": "bb774ed793bfa0d58b79da47c2ab672c",
    "slerp per row": "205caeb28b591f0f568ae06e7779fa00",
    "symmetric projection": "cdc0d7e2741ca0f08c4e8fd96eb71678",
    "texture": "90d27f8cb551dcb78c918629baf13c94",
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


def merged(dtype: torch.dtype = torch.bfloat16, **fields) -> Merged:
    spec = live_spec(fixed_family(dtype))
    rows = (Row("a", alpha=0.75), Row("b", alpha=-0.5, repeat=2), Row("child", "a"))
    if get_method(fields.get("method", "task_arithmetic")).max_rows == 1:
        rows = (Row("a", alpha=0.75),)
    with plan_merge(recipe_for(spec, *rows, **fields), spec) as plan:
        return run_merge(plan)


def content_hash(**fields) -> str:
    return merged(**fields).report.content_hash


def sums(**fields) -> tuple[float, ...]:
    """‖W − B‖ and four sums of W − B with signs of their own, over all tensors, in float64."""
    base = fixed_family(torch.bfloat16)["base"]
    tensors = {k: t for k, t in merged(**fields).state_dict.items() if t.is_floating_point()}
    change = torch.cat([(t.double() - base[k].double()).flatten() for k, t in tensors.items()])
    signs = [numbers(tuple(change.shape), 9000 + i).double().sign() for i in range(4)]
    return (change.norm().item(), *(float(change @ sign) for sign in signs))


def test_every_method_is_pinned():
    assert set(METHODS) | set(SUMS) & set(all_methods()) == set(all_methods())
    assert not set(METHODS) & set(SUMS)


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


@pytest.mark.parametrize("case", sorted(OTHERS))
def test_a_case_gives_the_bytes_it_always_gave(case):
    assert content_hash(**CASES[case]) == OTHERS[case]


@pytest.mark.parametrize("case", sorted(SUMS))
def test_a_method_that_decomposes_gives_the_sums_it_always_gave(case):
    found = sums(**CASES.get(case, {"method": case}))
    assert found == pytest.approx(SUMS[case], abs=2e-3 * SUMS[case][0])
