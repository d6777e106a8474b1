"""Caches the Grams of rows on disk, so that a repeated merge reads every tensor once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...io.cache_folder import CacheFolder
from ...io.hashing import bytes_hash
from ...keys.content import model_digest
from ...shapes import Float64
from ..plan.model import Plan

__all__ = ["GramCache"]

_log = logging.getLogger(__name__)
_SUFFIX = ".grams"
_VERSION = 1


class GramCache:
    """`BlockGram` of every tensor of a set of rows, under the fingerprints of the files behind it.

    A product of two rows is the same to the last bit beside any others, so that rows which are
    among those of an earlier merge, in any order, are answered from that one. It is a cache: what
    is missing or damaged counts as unknown, and what cannot be written is not kept.
    """

    def __init__(self, folder: Path, max_bytes: int = 64 << 20) -> None:
        self._entries = CacheFolder(folder, _SUFFIX, max_bytes)

    def find(self, plan: Plan) -> Float64[Tensor, "tensors rows rows"] | None:
        """The Grams of the plan's rows in the order of its tensors, or None."""
        layout, rows = _layout(plan), _rows(plan)
        for path in self._entries.paths():
            about = self._entries.about(path)
            if about.get("layout") != layout:
                continue
            known = about.get("rows")
            if not isinstance(known, list) or not all(isinstance(row, str) for row in known):
                continue
            if not set(rows) <= set(known):
                continue
            found = self._read(path, len(plan.tensors), len(known))
            if found is not None:
                places = [known.index(row) for row in rows]
                return found[:, places][:, :, places]
        return None

    def put(self, plan: Plan, grams: Sequence[Float64[Tensor, "rows rows"]]) -> None:
        """Keep the Grams of a plan's tensors.

        Raises:
            FileChangedError: a file is no longer what they were made from.
        """
        for model in (plan.aligned.base, *plan.models):
            model.source.check_unchanged()
        layout, rows = _layout(plan), _rows(plan)
        payload = torch.stack(list(grams)).numpy().astype("<f8").tobytes() if grams else b""
        try:
            # in the rows' order: whoever writes this name writes the same
            name = bytes_hash("\n".join([layout, *rows]).encode())
            self._entries.put(name, {"layout": layout, "rows": rows}, payload)
        except OSError as error:
            _log.warning("The Grams could not be cached (%s).", error.strerror)

    def _read(self, path: Path, tensors: int, rows: int) -> Tensor | None:
        payload = self._entries.payload(path)
        if payload is None or len(payload) != 8 * tensors * rows * rows:
            return None
        values = np.frombuffer(payload, dtype="<f8").astype(np.float64)
        return torch.from_numpy(values).view(tensors, rows, rows)


def _layout(plan: Plan) -> str:
    """The base and its tensors, in their order."""
    keys = [f"{tensor.key} {tensor.shape}" for tensor in plan.tensors]
    lines = [str(_VERSION), model_digest(plan.aligned.base), *keys]
    return bytes_hash("\n".join(lines).encode())


def _rows(plan: Plan) -> list[str]:
    """What each row's delta is made from: its model and its parent; nothing stands for the base."""
    models = [model_digest(model) for model in plan.models]
    parts = [["" if i < 0 else models[i] for i in (row.model, row.parent)] for row in plan.rows]
    return [" ".join(part) for part in parts]
