"""The text encoders and the VAE of a merged checkpoint as files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ... import __version__
from ...errors import CompatibilityError, WriteError
from ...io.opening import open_source
from ...io.source import Source
from ...io.writer import SafetensorsWriter
from ...keys.components import DIFFUSION, component_of
from ...progress import Progress
from ..plan.model import Plan

__all__ = ["part_files", "write_parts"]

_WORDS = {
    "text_encoder.l": "clip_l",
    "text_encoder.g": "clip_g",
    "text_encoder.h": "clip_h",
    "text_encoder.t5": "t5xxl",
}


def part_files(plan: Plan) -> dict[str, Path]:
    """Component → its file beside the target, such as `<name>_clip_l.safetensors`.

    Raises:
        CompatibilityError: the result is no checkpoint in a file. WriteError: such a file exists,
            and the plan may not overwrite.
    """
    target = plan.target
    if target is None or not plan.is_checkpoint:
        raise CompatibilityError(
            "there are no text encoders and no VAE to write as files of their own",
            received="a merge of the diffusion model" if not plan.is_checkpoint else "no file",
            fix="Choose a full checkpoint as the base, and the layout auto or checkpoint.",
        )
    found = {}
    for component in plan.aligned.components:
        if component != DIFFUSION:
            word = _WORDS.get(component, component.removeprefix("text_encoder."))
            found[component] = target.with_name(f"{target.stem}_{word}.safetensors")
    taken = [path.name for path in found.values() if path.exists() and not plan.overwrite]
    if taken:
        fix = "Choose another name, or allow overwriting."
        raise WriteError(f'"{taken[0]}" exists already', fix=fix)
    return found


def write_parts(plan: Plan, progress: Progress | None = None) -> tuple[Path, ...]:
    """Copy the components of the plan's finished target, byte for byte, into `part_files`.

    Keys are those under which ComfyUI's CLIPLoader and VAELoader know them: without the prefixes of
    a checkpoint. Each file appears complete or not at all. Memory: one tensor.
    """
    files, progress = part_files(plan), progress or Progress()
    assert plan.target is not None  # `part_files` refused it  # noqa: S101
    with open_source(plan.target, dequantize=False) as merged:
        held: dict[str, dict[str, str]] = {component: {} for component in files}
        for key, name in plan.names.items():
            component = component_of(key)
            if component in held and name in merged.entries:
                held[component][key.removeprefix(f"{component}.")] = name
        for component, path in files.items():
            _write(merged, path, held[component], plan, progress)
    return tuple(files.values())


def _write(
    merged: Source, path: Path, names: Mapping[str, str], plan: Plan, progress: Progress
) -> None:
    entries = {key: merged.entries[name] for key, name in names.items()}
    layout = {key: (entry.dtype, entry.shape) for key, entry in entries.items()}
    told = {"format": "pt", "orthomerge.version": __version__}
    told["orthomerge.split_from"] = plan.target.name if plan.target else ""
    progress.start(float(sum(e.n_bytes for e in entries.values())), f"Writing {path.name}")
    with SafetensorsWriter(path, layout, told, overwrite=plan.overwrite) as writer:
        for key, name in names.items():
            writer.write(key, merged.read_raw(name))
            progress.advance(float(entries[key].n_bytes))
        writer.finish()
