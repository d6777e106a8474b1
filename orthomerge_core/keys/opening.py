"""Builds a set from paths, and opens a set as aligned models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..errors import (
    CompatibilityError,
    FileError,
    HeaderError,
    UnsupportedError,
    is_showable,
    quoted,
)
from ..io.opening import is_readable_name, open_source
from ..io.source import Source
from ..progress import Progress
from .align import align
from .aligned import AlignedSet, ModelReport
from .channels import WidenedSource
from .lora.source import LoraSource
from .setspec import ModelSpec, Repairs, SetSpec

__all__ = ["models_in", "open_set", "spec_from_paths"]

_SUFFIXES = re.compile(r"(?:-\d+-of-\d+)?\.(?:safetensors|sft|gguf)$", re.IGNORECASE)


def open_set(
    spec: SetSpec,
    *,
    allow_empty: bool = False,
    find_duplicates: bool = True,
    progress: Progress | None = None,
) -> AlignedSet:
    """Open every file of the set and lay the models over the base; close what it returns.

    Reads headers, and samples to find duplicates. If anything fails, everything opened here is
    closed again. A model that cannot be read is left out like any other misfit, with the reason as
    its verdict. When no model fits, `CompatibilityError` says why for each, unless `allow_empty`.
    """
    with ExitStack() as opened:
        base = _open(spec.base, spec.repairs, opened)
        models, unreadable = _open_all(spec, opened)
        aligned = align(
            base,
            models,
            spec.architecture,
            spec.repairs,
            components=not spec.diffusion_only,
            find_duplicates=find_duplicates,
            progress=progress,
        )
        aligned = replace(aligned, skipped=(*aligned.skipped, *unreadable))
        if spec.models and not aligned.models and not allow_empty:
            raise _none_fits(aligned)
        kept = {id(m.source) for m in (aligned.base, *aligned.models)}
        around = (LoraSource, WidenedSource)
        kept |= {id(m.source.inner) for m in aligned.models if isinstance(m.source, around)}
        for model, source in models:
            if id(source) not in kept and model.source is None:
                source.close()
        opened.pop_all()
        return aligned


def _open_all(
    spec: SetSpec, opened: ExitStack
) -> tuple[list[tuple[ModelSpec, Source]], list[ModelReport]]:
    """The models that can be read, and reports of the others where misfits are to be skipped."""
    models: list[tuple[ModelSpec, Source]] = []
    unreadable: list[ModelReport] = []
    for model in spec.models:
        try:
            models.append((model, _open(model, spec.repairs, opened)))
        except (HeaderError, UnsupportedError) as error:
            if not spec.repairs.skip_misfits:
                raise
            unreadable.append(_unreadable(model, error))
    return models, unreadable


def _unreadable(spec: ModelSpec, error: FileError) -> ModelReport:
    words = str(error).removesuffix(".")
    return ModelReport(
        name=spec.name,
        file=spec.file,
        architecture="not readable",
        dtype="not readable",
        quantisation="none",
        matched=0,
        missing=0,
        extra=0,
        mismatched=0,
        coverage_frac=0.0,
        ok=False,
        verdict=f"not readable: {words}",
    )


def _open(spec: ModelSpec, repairs: Repairs, opened: ExitStack) -> Source:
    if spec.source is not None:
        return spec.source  # a live model belongs to whoever made it
    if spec.path is None:
        raise FileError(f'"{spec.file}" has no path', fix="Choose the file again.")
    source = open_source(spec.path, name=spec.path.name, dequantize=repairs.dequantise)
    opened.callback(source.close)
    return source


def _none_fits(aligned: AlignedSet) -> CompatibilityError:
    words = "; ".join(f'"{r.name}" is {r.verdict}' for r in aligned.skipped)
    return CompatibilityError(
        f"no model fits the base: {words}",
        fix=f"Choose models of the base's architecture ({aligned.architecture.label}).",
    )


def spec_from_paths(
    base: Path,
    models: Sequence[Path],
    architecture: str = "auto",
    repairs: Repairs | None = None,
) -> SetSpec:
    """The set of a base and some models; no file is opened yet.

    A folder among `models` stands for the readable models directly in it, sorted by name, without
    the base. A model is named by its file's stem; where stems clash (or one is "base") by file
    name, then by folder and stem.
    """
    paths: list[Path] = []
    for path in models:
        found = models_in(path) if path.is_dir() else [path]
        paths += [p for p in found if not (path.is_dir() and _same_file(p, base))]
    for path in (base, *models, *paths):
        _check_name(path)
    if models and not paths:
        raise CompatibilityError(
            "no model found",
            received=f'an empty folder, "{models[0].name}"',
            fix="Name a model file or fill the folder.",
        )
    names = _names(paths)
    first, *files = _files([base, *paths])
    specs = tuple(ModelSpec(n, f, p) for n, f, p in zip(names, files, paths, strict=True))
    return SetSpec(ModelSpec("base", first, base), specs, architecture, repairs or Repairs())


def _check_name(path: Path) -> None:
    """`FileError` for a name that no recipe can hold, and for a path at which there is nothing."""
    if not is_showable(path.name):
        what = f'no recipe can hold the file name "{quoted(path.name)}"'
        raise FileError(what, received="not UTF-8, or control characters", fix="Rename the file.")
    if not path.suffix and not path.exists():
        raise FileError(f'"{path.name}" does not exist', fix="Check the name and the folder.")


def models_in(folder: Path) -> list[Path]:
    """Readable models of a folder, sorted; a sharded model is its first shard."""
    return sorted(p for p in folder.iterdir() if p.is_file() and is_readable_name(p.name))


def _same_file(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:
        return False


def _names(paths: Sequence[Path]) -> list[str]:
    """A unique name per path; the order of `paths` is kept.

    The stem where it is the only one, else the file's name, else the innermost folder in which it
    differs from the others of its stem, else as much of the path as makes it unique.
    """
    whole = [path.absolute() for path in paths]
    stems = [_SUFFIXES.sub("", p.name) for p in paths]
    levels = [stems, [p.name for p in paths], _differing(whole, stems)]
    levels += [
        ["/".join((*p.parent.parts[-depth:], s)) for p, s in zip(whole, stems, strict=True)]
        for depth in range(1, max((len(p.parts) for p in whole), default=1))
    ]
    names: list[str] = []
    for i in range(len(paths)):
        fitting = (
            row[i]
            for row in levels
            if row.count(row[i]) == 1 and row[i] not in ("", "base") and is_showable(row[i])
        )
        name = next((n for n in fitting if n not in names), "")
        number = 2
        while not name or name in names:
            name, number = f"{stems[i]} ({number})", number + 1
        names.append(name)
    return names


def _differing(paths: Sequence[Path], stems: Sequence[str]) -> list[str]:
    """Of each path the innermost folder that no other path of the same stem has at that depth."""
    found = []
    for path, stem in zip(paths, stems, strict=True):
        others = [p for p, s in zip(paths, stems, strict=True) if s == stem and p != path]
        folders = path.parent.parts[:0:-1]  # from the inside, without the root
        there = [{p.parent.parts[:0:-1][d : d + 1] for p in others} for d in range(len(folders))]
        apart = (f for f, taken in zip(folders, there, strict=True) if (f,) not in taken)
        found.append(next(apart, "") if others else "")
    return found


def _files(paths: Sequence[Path]) -> list[str]:
    """What a recipe calls each file: its name, with as many folders as make it the only one."""
    whole = [path.absolute() for path in paths]
    depths = range(1, max(len(p.parts) for p in whole))
    tails = [["/".join(p.parts[-depth:]) for p in whole] for depth in depths]
    return [
        next((row[i] for row in tails if row.count(row[i]) == 1), tails[-1][i])
        for i in range(len(whole))
    ]
