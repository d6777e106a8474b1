"""Writes `example_workflows/*.json`, their API twins and `subgraphs/*.json`, for a real ComfyUI.

    python scripts/make_workflows.py           all workflows
    python scripts/make_workflows.py slerp     only these (blueprint: the file in subgraphs/)

Each makes a picture from the demo's family; exchange the names in the first node for your models.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=True)

from scripts.support.blueprint import NAME, blueprint
from scripts.support.comfy_host import ComfyHost
from scripts.support.examples import EXAMPLES, Studio, file_name
from scripts.support.family import make_family

TARGET = env.ROOT / "example_workflows"
BLUEPRINTS = env.ROOT / "subgraphs"


def main() -> None:
    """Ask a real host for its nodes, and write the files."""
    wanted = sys.argv[1:] or [example.name for example in EXAMPLES]
    with tempfile.TemporaryDirectory() as place:
        make_family(Path(place) / "models")
        with ComfyHost(env.ensure_comfyui(), Path(place)).start() as host:
            info = host.get("/object_info")
    for example in EXAMPLES:
        if example.name not in wanted:
            continue
        flow = Studio(info)
        example.make(flow)
        _write(TARGET / f"{file_name(example.name)}.json", flow.saved(example.name))
        _write(TARGET / "api" / f"{example.name}.json", flow.api())
        env.say(example.name)
    if not sys.argv[1:] or "blueprint" in sys.argv[1:]:
        BLUEPRINTS.mkdir(exist_ok=True)
        _write(BLUEPRINTS / f"{NAME}.json", blueprint(info))
    (TARGET / "README.md").write_text(_index(), encoding="utf-8")


def _index() -> str:
    """A list of the workflows for whoever looks at the folder."""
    rows = [
        f"| {file_name(e.name)} | [{e.name}](api/{e.name}.json) | {e.about} |" for e in EXAMPLES
    ]
    head = ["# Example workflows", "", "ComfyUI lists them under Templates. Each one runs with the"]
    head += ["models of the demo (`python scripts/demo.py`); exchange the names for your own.", ""]
    table = ["| workflow | API prompt | what it shows |", "|---|---|---|", *rows]
    return "\n".join([*head, *table]) + "\n"


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
