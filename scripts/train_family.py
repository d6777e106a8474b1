"""Trains the demo's model family: a base and its fine-tunes.

    python scripts/train_family.py --fast --out DIR   the family again, half an hour on two cores
    python scripts/train_family.py ink star           these anew, from their parents on disk

The family lies in `scripts/support/weights`. See `scripts/support/training.py` for the training,
and `scripts/support/pictures.py` for what the models learn to draw.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=False)

from scripts.support import family
from scripts.support.pictures import STYLES, all_prompts, draw
from scripts.support.training import Look, Step, asked_models, parser, train_family

LOOK = Look(
    prompts=all_prompts(),
    asked=lambda name: all_prompts(STYLES[name].shapes),
    latents=lambda name, prompts, generator: family.to_latent(
        draw(prompts, STYLES[name], generator)
    ),
    batch=32,
)
PLAN = {
    "base": Step("", 2000, 2e-3),
    "ink": Step("base", 500, 8e-4),
    "ink-fine": Step("ink", 300, 6e-4),
    "paint": Step("base", 300, 8e-4),
    "paint-copy": Step("paint", 30, 5e-5),
    "photo": Step("base", 300, 6e-4),
    "star": Step("base", 500, 8e-4),
}


def main() -> None:
    """Train what was asked for; without names, what the folder lacks."""
    options = parser(__doc__.splitlines()[0], PLAN)
    asked = options.parse_args()
    folder = asked.out or family.WEIGHTS
    wanted = asked_models(options, asked, PLAN, folder)
    if not wanted:
        env.say("the family is complete; name a model to train it anew")
        return
    train_family(LOOK, PLAN, wanted, asked.seed, folder, family.WEIGHTS, asked.fast)


if __name__ == "__main__":
    main()
