"""Trains a family for `benchmarks/quality.py`; that benchmark calls it for what is missing.

    python benchmarks/train_quality_family.py --seed 2 --fast    what family 2 lacks
    python benchmarks/train_quality_family.py --seed 2 joint     the jointly trained bound

A family takes about half an hour on two cores, and lies in `.cache/families/<seed>`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=False)

from benchmarks.merge_quality.latent import to_latent
from benchmarks.merge_quality.pictures import STYLES, all_prompts, draw
from scripts.support.training import Look, Step, asked_models, parser, train_family

LOOK = Look(
    prompts=all_prompts(),
    asked=lambda name: all_prompts(STYLES[name].shapes),
    latents=lambda name, prompts, generator: to_latent(draw(prompts, STYLES[name], generator)),
    batch=96,
)
PLAN = {
    "base": Step("", 2600, 2e-3),
    "ink": Step("base", 500, 6e-4),
    "ink-fine": Step("ink", 300, 4e-4),
    "paint": Step("base", 400, 6e-4),
    "paint-copy": Step("paint", 25, 5e-5),
    "photo": Step("base", 300, 3e-4),
    "star": Step("base", 400, 6e-4),
    "joint": Step("base", 400, 6e-4),
}
"""`joint` is trained only where it is named."""


def main() -> None:
    """Train what was asked for; without names, what the family lacks."""
    options = parser(__doc__.splitlines()[0], PLAN)
    asked = options.parse_args()
    own = env.CACHE / "families" / str(asked.seed)
    folder = asked.out or own
    members = {name: step for name, step in PLAN.items() if name != "joint" or name in asked.names}
    wanted = asked_models(options, asked, members, folder)
    if not wanted:
        env.say(f"family {asked.seed} is complete; name a model to train it anew")
        return
    train_family(LOOK, PLAN, wanted, asked.seed, folder, own, asked.fast)


if __name__ == "__main__":
    main()
