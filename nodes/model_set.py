"""OrthoModelSet: which files are compared and merged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..orthomerge_core.errors import FileError, RecipeError, shown_value
from ..orthomerge_core.io.opening import open_source
from ..orthomerge_core.keys.detect import all_architectures
from ..orthomerge_core.keys.opening import open_set, spec_from_paths
from ..orthomerge_core.keys.setspec import COMPONENTS, SetSpec
from . import host
from .parts import set_choices
from .widgets import extended, schema, ui_payload
from .wire import Models

__all__ = ["OrthoModelSet", "members"]


class OrthoModelSet(io.ComfyNode):
    """A base and its fine-tunes, by name. Nothing is read here but headers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Base, models, architecture, and a set to extend."""
        picker = io.String.Input(
            "models",
            multiline=True,
            default="",
            optional=True,
            placeholder="one model per line; empty = every compatible file beside the base",
            tooltip="Fine-tunes of the base, or LoRAs for it, one name per line, up to 32. "
            "Empty: every compatible file in the base's folder.",
        )
        return schema(
            "OrthoModelSet",
            display_name="Ortho Model Set",
            searchable_name="Ortho Model Set (merge models)",
            description="Names a base model and its fine-tunes. No file is ever changed.",
            search_aliases=[
                "merge models",
                "checkpoint merge",
                "model merge",
                "model list",
                "base model",
                "fine-tunes",
            ],
            inputs=[
                io.Combo.Input(
                    "base",
                    options=host.readable_names(),
                    tooltip="The common reference model that the fine-tunes started from. "
                    "Ignored when a set to extend is connected.",
                ),
                extended(picker, widgetType="ORTHOMERGE_MODELS"),
                io.Combo.Input(
                    "architecture",
                    options=["auto", *(a.name for a in all_architectures())],
                    default="auto",
                    optional=True,
                    tooltip="How keys are grouped into blocks. auto detects it from the base; "
                    "generic works on anything.",
                ),
                Models.Input(
                    "extend",
                    optional=True,
                    tooltip="A set to add these models to; its base counts then.",
                ),
                io.Combo.Input(
                    "components",
                    options=list(COMPONENTS),
                    default=COMPONENTS[0],
                    optional=True,
                    tooltip="What is taken of full checkpoints. base: all components that the base "
                    "has (diffusion model, text encoders, VAE). diffusion: the diffusion model "
                    "alone.",
                ),
            ],
            outputs=[Models.Output(display_name="models", tooltip="The set.")],
        )

    @classmethod
    def validate_inputs(cls, models: str | None = None) -> bool | str:
        """Every line must be a file that a registered folder lists.

        Only `models` is asked for, because the host reports one message at every input named here.
        Newer hosts hold `base` against its list themselves; with older ones `execute` refuses it.
        """
        return host.explain(lambda: host.resolve_all(_lines(models)))

    @classmethod
    def fingerprint_inputs(
        cls, base: str | None = None, models: str | None = "", **_: object
    ) -> str:
        """Size and mtime of every file named here, or of the base's whole folder."""
        picked = _lines(models)
        if not picked and base:
            try:
                picked = host.siblings(base)
            except FileError:
                picked = []
        return host.fingerprint([base or "", *picked])

    @classmethod
    @host.guarded
    def execute(
        cls,
        base: str,
        models: str = "",
        architecture: str = "auto",
        extend: SetSpec | None = None,
        components: str = COMPONENTS[0],
    ) -> io.NodeOutput:
        """The set, and what was left out of it in words."""
        picked = _lines(models)
        skipped: list[dict[str, str]] = []
        if extend is None:
            if not picked:
                picked, skipped = _compatible(base, architecture)
            spec = _spec(base, picked, architecture)
        else:
            spec = _extended(extend, picked)
        if components != COMPONENTS[0]:
            spec = replace(spec, components=components)
        payload = {
            "kind": "set",
            "base": spec.base.file,
            "models": list(spec.names()),
            "files": {m.name: m.file for m in spec.models},
            "skipped": skipped,
        }
        return io.NodeOutput(spec, ui=ui_payload(payload))


def _lines(text: str | None) -> list[str]:
    if text is not None and not isinstance(text, str):
        raise RecipeError(
            'input "models"',
            expected="text",
            received=shown_value(text),
            fix="Write one name per line.",
        )
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _spec(base: str, picked: list[str], architecture: str) -> SetSpec:
    """The core's set over these files; `file` is the name that the host's folders know."""
    if len(set(picked)) < len(picked):
        twice = next(name for name in picked if picked.count(name) > 1)
        raise RecipeError(f'"{twice}" is named twice', fix="Remove one of the two lines.")
    first, *paths = host.resolve_all([base, *picked])
    spec = spec_from_paths(first, paths, architecture)
    named = [replace(m, file=file) for m, file in zip(spec.models, picked, strict=True)]
    return replace(spec, base=replace(spec.base, file=base), models=tuple(named))


def _extended(old: SetSpec, picked: list[str]) -> SetSpec:
    """`old` with more models; a name that is taken gets a number."""
    taken, spec = set(old.names()) | {"base"}, old
    for model in _spec(old.base.file, picked, old.architecture).models if picked else ():
        name, count = model.name, 2
        while name in taken:
            name, count = f"{model.name}-{count}", count + 1
        taken.add(name)
        spec = spec.with_model(replace(model, name=name))
    return spec


def members(base: str, models: str) -> dict[str, Any]:
    """Who is in a set, before any run: what the browser shows of a set that has not run.

    base, models: as the node has them. Returns `names` as the table will call the models, `files`
    (name → file), `missing`: the lines without a file, each with what to do, and `parts`: what the
    set leaves to choose (`parts.set_choices`; headers are read), or None.
    """
    missing: list[dict[str, str]] = []
    picked: list[str] = []
    for name in dict.fromkeys(_lines(models)):
        try:
            host.resolve(name)
            picked.append(name)
        except FileError as error:
            missing.append({"file": name, "text": str(error)})
    if not picked and not missing:
        picked = host.siblings(base)
    spec = _spec(base, picked, "auto")
    files = {m.name: m.file for m in spec.models}
    answer = {"names": list(spec.names()), "files": files, "missing": missing}
    return answer | {"parts": set_choices(spec)}


def _compatible(base: str, architecture: str) -> tuple[list[str], list[dict[str, str]]]:
    """Files beside the base that fit it, and those that do not with the reason."""
    readable: list[str] = []
    skipped: list[dict[str, str]] = [
        {"file": name, "reason": "The file name holds characters that cannot be shown. Rename it."}
        for name in host.unshowable_siblings(base)
    ]
    for name in host.siblings(base):
        try:
            open_source(host.resolve(name)).close()
            readable.append(name)
        except FileError as error:
            skipped.append({"file": name, "reason": str(error)})
    spec = _spec(base, readable, architecture)
    with open_set(spec, allow_empty=True, find_duplicates=False) as aligned:
        reasons = {report.name: report.verdict for report in aligned.skipped}
    skipped += [
        {"file": m.file, "reason": reasons[m.name]} for m in spec.models if m.name in reasons
    ]
    fitting = [m.file for m in spec.models if m.name not in reasons]
    if not fitting:
        raise FileError(
            f'no compatible model beside "{base}"',
            fix="Name the models, one per line, or put them into the base's folder.",
        )
    return fitting, skipped
