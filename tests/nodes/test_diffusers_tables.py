"""Diffusers names against the tables that this very ComfyUI converts with, at real size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

import pytest
import torch

from orthomerge_core.keys.aligned import AlignedModel, Segment
from orthomerge_core.keys.normalize import normalize_shapes
from tests.fakes import MemorySource
from tests.inventories import diffusers_names, inventory

# inventory → (the host's function, canonical keys that diffusers lacks)
FAMILIES = {
    "sd15": ("unet_to_diffusers", set()),
    "sdxl": ("unet_to_diffusers", set()),
    "sd35-medium": ("mmdit_to_diffusers", set()),
    "flux1-dev": ("flux_to_diffusers", set()),
    "z-image": ("z_image_to_diffusers", {"norm_final.weight"}),
    "auraflow": ("auraflow_to_diffusers", set()),
}


# Later releases call Flux's norms `weight` instead of the file's `scale`, and list the names of
# Flux 2 and of LoKr files beside those of Flux.
_RENAMED = re.compile(r"(?<=y_norm)\.weight$")
_LOKR = re.compile(
    r"\.ff(_context)?\.linear_(in|out)\.|\.attn\.to_qkv_mlp_proj\.|blocks\.\d+\.attn\.to_out\.(weight|bias)$"
)


@pytest.fixture(scope="module")
def tables(pack: Any) -> Any:
    """inventory → diffusers key → (canonical key, first row, rows, halves swapped)."""
    import comfy.model_detection
    import comfy.utils

    def table(name: str) -> dict[str, tuple[str, int | None, int | None, bool]]:
        shapes = inventory(name)
        meta = {k: torch.empty(s, device="meta") for k, s in shapes.items()}
        config = comfy.model_detection.detect_unet_config(meta, "")
        convert = getattr(comfy.utils, FAMILIES[name][0])
        found = {}
        for key, target in convert(config).items():
            if _LOKR.search(key):
                continue
            target, offset, *swap = (target, None) if isinstance(target, str) else target
            target = _RENAMED.sub(".scale", target)
            start, rows = offset[1:] if offset else (None, None)
            if target in shapes:
                found[key] = (target, start, rows, bool(swap))
        return found

    return table


def expected(
    table: Mapping[str, tuple[str, int | None, int | None, bool]],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[Segment, ...]]]:
    """The diffusers file's shapes, and the segments that make up each canonical tensor."""
    parts: dict[str, list[tuple[int, str]]] = {}
    stored, swapped = {}, set()
    for key, (target, start, rows, swap) in table.items():
        if key.startswith("class_embedding.") and "add_embedding.linear_1.weight" in table:
            continue  # an older spelling of the same key
        shape = shapes[target]
        stored[key] = shape if rows is None else (rows, *shape[1:])
        parts.setdefault(target, []).append((start or 0, key))
        swapped.update([target] if swap else [])
    runs = {}
    for target, keys in parts.items():
        run = [Segment(key, 0, prod(stored[key])) for _, key in sorted(keys)]
        if target in swapped:
            half = run[0].stop // 2
            run = [Segment(run[0].key, half, run[0].stop), Segment(run[0].key, 0, half)]
        runs[target] = tuple(run)
    return stored, runs


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("prefix", ["", "transformer.", "model.diffusion_model."])
def test_every_key_goes_where_the_host_puts_it(tables: Any, name: str, prefix: str) -> None:
    shapes = inventory(name)
    stored, runs = expected(tables(name), shapes)
    view = normalize_shapes({prefix + key: shape for key, shape in stored.items()})
    assert view.diffusers and "remap_diffusers" in view.repairs
    assert set(shapes) - set(view.pieces) == FAMILIES[name][1]
    found = {
        key: tuple(Segment(s.key.removeprefix(prefix), s.start, s.stop) for s in piece.segments)
        for key, piece in view.pieces.items()
    }
    assert found == runs
    assert {key: piece.shape for key, piece in view.pieces.items()} == {
        key: shapes[key] for key in runs
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_the_recorded_tables_are_still_the_hosts(tables: Any, name: str) -> None:
    recorded = diffusers_names({"flux1-dev": "diffusers-flux1"}.get(name, f"diffusers-{name}"))
    live = tables(name)
    assert {k: v for k, v in recorded.items() if v[0] in inventory(name)} == live


def converted(pack: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from comfy.model_detection import convert_diffusers_mmdit

    found = convert_diffusers_mmdit({k: t.clone() for k, t in state.items()})  # it writes into them
    return {_RENAMED.sub(".scale", key): tensor for key, tensor in found.items()}


@pytest.mark.parametrize("name", ["flux1-dev", "sd35-medium", "auraflow"])
def test_the_hosts_converter_gives_the_same_tensors(pack: Any, tables: Any, name: str) -> None:
    """Two blocks of each kind, random weights, through its code and through ours."""
    width = {"flux1-dev": (3072, 64), "sd35-medium": (1536, 128), "auraflow": (3072, 64)}[name]
    table = {k: v for k, v in tables(name).items() if _is_early(k)}
    narrow = {k: _narrowed(shape, *width) for k, shape in inventory(name).items()}
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, (target, _, rows, _) in table.items():
        shape = narrow[target] if rows is None else (_small(rows, *width), *narrow[target][1:])
        state[key] = torch.randn(shape, generator=generator)
    theirs = converted(pack, state)
    view = normalize_shapes({k: tuple(t.shape) for k, t in state.items()})
    assert set(theirs) == set(view.pieces)
    segments = {k: p.segments for k, p in view.pieces.items()}
    ours = AlignedModel("m", MemorySource("m", state), segments, None)  # type: ignore[arg-type]
    for key, tensor in theirs.items():
        assert torch.equal(ours.read_raw(key, tuple(tensor.shape)), tensor), key


def _is_early(key: str) -> bool:
    parts = key.split(".")
    return not (parts[0].endswith("blocks") and int(parts[1]) > 1)


def _small(size: int, wide: int, narrow: int) -> int:
    return size * narrow // wide if size % wide == 0 else size


def _narrowed(shape: tuple[int, ...], wide: int, narrow: int) -> tuple[int, ...]:
    return tuple(_small(size, wide, narrow) for size in shape)
