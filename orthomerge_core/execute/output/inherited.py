"""Header fields that a merged file inherits from its ingredients: an allow-list.

Everything else in the base's header would lie about the merge (hashes, step counts, another merge's
recipe) or tell more than its owner meant to publish (training configurations with paths).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

__all__ = ["inherited_config", "inherited_spec", "licenses"]

_OF_THE_BASE = ("architecture", "prediction_type", "predict_key", "resolution", "implementation")
_MODULES = ("transformer", "vae")
"""Parts of `config` that ComfyUI reads: some architectures are built from them."""

Header = Mapping[str, str]


def inherited_config(base: Header) -> dict[str, str]:
    """`config`, reduced to the modules that ComfyUI builds from it; empty where there is none."""
    try:
        config = json.loads(base.get("config", "{}"))
    except ValueError:
        return {}
    if not isinstance(config, dict):
        return {}
    kept = {name: config[name] for name in _MODULES if isinstance(config.get(name), dict)}
    return {"config": json.dumps(kept, sort_keys=True, allow_nan=False)} if kept else {}


def inherited_spec(base: Header, models: Sequence[Header]) -> dict[str, str]:
    """ModelSpec fields: what the base says of its architecture, and what all ingredients say of
    their licenses and trigger phrases, each once."""
    found = {
        f"modelspec.{name}": base[f"modelspec.{name}"]
        for name in _OF_THE_BASE
        if f"modelspec.{name}" in base
    }
    named = licenses([base, *models])
    if named:
        found["modelspec.license"] = "; ".join(named)
    phrases = _each_once([base, *models], "modelspec.trigger_phrase")
    if phrases:
        found["modelspec.trigger_phrase"] = ", ".join(phrases)
    return found


def licenses(headers: Sequence[Header]) -> list[str]:
    """The licenses that files state, each once, in the files' order."""
    return _each_once(headers, "modelspec.license")


def _each_once(headers: Sequence[Header], field: str) -> list[str]:
    values = (header.get(field, "").strip() for header in headers)
    return [value for value in dict.fromkeys(values) if value]
