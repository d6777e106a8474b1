"""This server's studies: where they are stored, and the pictures that people compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..orthomerge_core.errors import RecipeError, did_you_mean
from ..orthomerge_core.io.hashing import bytes_hash
from ..orthomerge_core.io.temp import replace_file
from ..orthomerge_core.tune.storage import Storage, storage_url
from ..orthomerge_core.tune.study import Plan, Study, Trial
from . import host

__all__ = ["answer", "open_study", "opponent", "read_goals", "side_by_side", "store_picture"]

_MOST_SCORES = 3
_GAP = 8


def open_study(name: str, plan: Plan) -> Study:
    """The study of that name, in the database that `ORTHOMERGE_STUDIES` names or in the cache.

    A prompt cannot name a database: only who starts the server can.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise RecipeError("study", expected="a name of 1 to 100 characters", fix="Name it.")
    return Study(Storage(storage_url("", host.cache_dir("studies"))), name, plan)


def read_goals(text: str) -> tuple[tuple[str, str], ...]:
    """(name, direction) per score from `maximize` or `minimize`, one for each score."""
    words = [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]
    for word in words:
        if word not in ("maximize", "minimize"):
            raise RecipeError(f'goal "{word}"', fix=did_you_mean(word, ("maximize", "minimize")))
    if not 1 <= len(words) <= _MOST_SCORES:
        raise RecipeError(
            "goals", expected="1 to 3", received=len(words), fix="Write maximize, minimize."
        )
    return tuple((f"score {i}" if i > 1 else "score", word) for i, word in enumerate(words, 1))


def answer(study: Study, text: str) -> None:
    """Store a person's choice, `3 left`: the number of the pair, and which one is better."""
    words = text.split()
    if not words or study.rating is None:
        return
    if len(words) != 2 or not words[0].isdigit() or len(words[0]) > 9:
        raise RecipeError(
            "choice",
            expected="the number of a pair and left, right or neither, e.g. 3 left",
            received=repr(text[:60]),
            fix="Use the number that is shown with the pictures.",
        )
    study.rating.judge(int(words[0]), words[1].lower())


def store_picture(trial: Trial, image: torch.Tensor) -> None:
    """Keep the picture of a trial, to be compared with later ones."""
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels(image)).save(data, format="PNG", compress_level=4)
    replace_file(_folder(trial.study) / f"{trial.number}.png", data.getvalue())


def opponent(study: Study, trial: int) -> int | None:
    """Who is shown beside a trial: the most preferred one with a picture here, else the last."""
    folder = _folder(study.name)
    ranked = sorted(study.finished(), key=lambda found: -found.scores[0])
    numbers = [found.number for found in ranked]
    numbers += sorted((int(p.stem) for p in folder.glob("*.png") if p.stem.isdigit()), reverse=True)
    there = (n for n in numbers if n != trial and (folder / f"{n}.png").exists())
    return next(there, None)


def side_by_side(study: str, numbers: Sequence[int]) -> np.ndarray:
    """The pictures of two trials beside each other, uint8 [height, width, 3]."""
    from PIL import Image

    shown = []
    for number in numbers:
        with Image.open(_folder(study) / f"{number}.png") as image:
            shown.append(np.asarray(image.convert("RGB")))
    height = max(image.shape[0] for image in shown)
    width = sum(image.shape[1] for image in shown) + _GAP
    canvas, left = np.full((height, width, 3), 255, np.uint8), 0
    for image in shown:
        canvas[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + _GAP
    return canvas


def pixels(image: torch.Tensor) -> np.ndarray:
    """[B, H, W, C] in 0..1 → uint8 [H, B·W, 3]: a batch stands side by side."""
    rows = image.detach().cpu().clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8)
    return np.concatenate(list(rows[..., :3].numpy()), axis=1)


def _folder(study: str) -> Path:
    return host.cache_dir("studies", "pictures", bytes_hash(study.encode())[:16])
