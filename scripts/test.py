"""All tests, on a fresh machine, with one command.

    python scripts/test.py            everything
    python scripts/test.py --core     the core by itself, without ComfyUI and a browser
    python scripts/test.py -- -k gram arguments after -- go to pytest

Makes and reuses `.venv`; installs node, Chromium and a real ComfyUI where they are missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env


def main() -> int:
    """Run the static checks, the JavaScript tests, then pytest; 0 only if all passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--core", action="store_true", help="no ComfyUI, no browser, no node, no long tests"
    )
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    env.in_venv(dev=True)
    os.chdir(env.ROOT)
    failed = [name for name, command in _checks(options.core) if not _passes(name, command)]
    if not options.core:
        env.ensure_comfyui()
        env.ensure_chromium()
    paths = ["tests/core"] if options.core else ["tests"]
    if failed:
        env.say(f"failed so far: {', '.join(failed)}")
    run = subprocess.run([sys.executable, "-m", "pytest", *(options.pytest or paths)])
    if failed:
        env.say(f"failed: {', '.join(failed)}")
    return 1 if failed else run.returncode


def _checks(core_only: bool) -> list[tuple[str, list[str]]]:
    python = [sys.executable, "-m"]
    checks = [
        ("ruff", [*python, "ruff", "check", "."]),
        ("format", [*python, "ruff", "format", "--check", "."]),
        ("mypy", [*python, "mypy"]),
        ("imports", [str(Path(sys.executable).with_name("lint-imports"))]),
    ]
    if not core_only:
        tests = sorted(str(p.relative_to(env.ROOT)) for p in env.ROOT.glob("tests/js/*.test.mjs"))
        checks.append(("node --test", [env.ensure_node(), "--test", *tests]))
        checks += _js_checks()
    return checks


def _js_checks() -> list[tuple[str, list[str]]]:
    """Types, lint and format of everything that runs in the browser or under node."""
    node, tools = env.ensure_node(), env.ensure_js_tools() / "node_modules"
    sources = ["web/js/**/*.{js,mjs,ts}", "tests/js/*.mjs", "benchmarks/*.mjs"]
    format_options = ["--config", "scripts/js/prettier.json", "--check", *sources]
    lint_options = ["--config", "scripts/js/eslint.config.mjs", "web/js", "tests/js", "benchmarks"]
    return [
        ("tsc", [node, str(tools / "typescript/bin/tsc"), "--project", "scripts/js"]),
        ("eslint", [node, str(tools / "eslint/bin/eslint.js"), *lint_options]),
        ("prettier", [node, str(tools / "prettier/bin/prettier.cjs"), *format_options]),
    ]


def _passes(name: str, command: list[str]) -> bool:
    env.say(name)
    return subprocess.run(command).returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
