"""The analysis pass against reading alone and against a pairwise loop, in one run.

    python benchmarks/analysis.py                        200 MB bf16 files, N = 2, 4, 8, 12, 16
    python benchmarks/analysis.py --models 4 --mb 400    one set, other sizes
    python benchmarks/analysis.py --growth               how time grows with size at N = 4
    python benchmarks/analysis.py --wide                 3072-wide blocks, 2 GB files, N = 3, five
                                                         spectra, and how soon a stop is heard
    python benchmarks/analysis.py --add                  one model into a known set of six

Two floors, both only read, upcast and sum: whole tensors with safetensors and torch ("floor"), and
our own reader in chunks that stay in the cache ("reader", several times faster). Files are made in
a temporary folder and read once before anything is timed, so all figures are for a warm page cache.
Each figure is the best of --repeats, taken in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orthomerge_core.analysis.extend import extend
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.concurrency.pool import Ticker, run_pool, usable_cores
from orthomerge_core.errors import Cancelled
from orthomerge_core.io.scratch import Scratch
from orthomerge_core.keys.aligned import AlignedSet
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.keys.reading import total_bytes
from orthomerge_core.progress import Progress

CHUNK = 262144
NARROW = {"attn.qkv.weight": (3456, 1152), "mlp.fc1.weight": (4608, 1152), "norm.weight": (1152,)}
WIDE = {"linear1.weight": (21504, 3072), "linear2.weight": (3072, 15360), "mod.bias": (9216,)}


def make_family(folder: Path, count: int, mb: int, block: dict[str, tuple[int, ...]]) -> list[Path]:
    """A base and `count` fine-tunes with deltas of about 1 %, bf16, `mb` MB each."""
    from safetensors.torch import save_file

    per_block = 2 * sum(torch.Size(s).numel() for s in block.values())
    shapes = {
        f"blocks.{i}.{name}": shape
        for i in range(max(1, round(mb * 1e6 / per_block)))
        for name, shape in block.items()
    }
    paths = []
    for number in range(count + 1):
        tensors = {}
        for name, shape in shapes.items():
            base, delta = _noise(shape, 0), _noise(shape, number)
            tensors[name] = base.add_(delta, alpha=0.01 if number else 0.0).bfloat16()
        paths.append(folder / ("base.safetensors" if not number else f"m{number:02}.safetensors"))
        save_file(tensors, paths[-1])
    return paths


def _noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Normal numbers that repeat after a prime count, so that rows of a matrix differ."""
    length, period = torch.Size(shape).numel(), 1_048_573
    tile = torch.randn(period, generator=torch.Generator().manual_seed(seed))
    return tile.repeat(-(-length // period))[:length].view(shape)


def plain(paths: list[Path]) -> None:
    """The floor anyone would write: safetensors' own reader, upcast, sum; torch's own threads."""
    from safetensors import safe_open

    for path in paths:
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118  # not a mapping
                file.get_tensor(key).float().sum()


def reader(aligned: AlignedSet) -> None:
    """The lowest floor there is: our reader's chunks, hashed, upcast in cache and summed there."""
    models = (aligned.base, *aligned.models)

    def worker() -> Callable[[str, Ticker], None]:
        buffer, scratch = torch.empty(CHUNK), Scratch()

        def work(key: str, tick: Ticker) -> None:
            total, readers = aligned.numel(key), [m.reader(key, scratch) for m in models]
            for start in range(0, total, CHUNK):
                part = buffer[: min(CHUNK, total - start)]
                for read in readers:
                    read(part, start)
                    part.sum()
            tick(1)

        return work

    run_pool(list(aligned.keys), worker, usable_cores(), Progress())


def loop(aligned: AlignedSet) -> None:
    """What one would write first: whole tensors, every pair's deltas, dot products and signs."""
    for key in aligned.keys:
        base = aligned.base.source.read(key)
        for i, a in enumerate(aligned.models):
            for b in aligned.models[i:]:
                d, e = a.source.read(key) - base, b.source.read(key) - base
                (d * e).sum(), d.norm(), e.norm(), d.abs().max()
                active = (d != 0) & (e != 0)
                active.sum(), (active & (torch.sign(d) != torch.sign(e))).sum()


def ours(aligned: AlignedSet) -> None:
    """The pass as users run it, without spectra."""
    analyze(aligned, rank_samples=0)


def with_spectra(aligned: AlignedSet) -> None:
    """The pass as it is by default, with the spectra of five matrices."""
    analyze(aligned)


class Stop(Progress):
    """Wants to stop `after_s` seconds into a phase; knows when it was told of it."""

    def __init__(self, during_spectra: bool, after_s: float) -> None:
        self._spectra, self._after_s = during_spectra, after_s
        self._bytes_left, self._wish = 0.0, float("inf")

    def begin(self, reading_bytes: float) -> None:
        """The phase of reading begins now, and ends after that many bytes."""
        self._bytes_left = reading_bytes
        if not self._spectra:
            self._wish = time.perf_counter() + self._after_s

    def advance(self, amount: float) -> None:
        """See `Progress`."""
        self._bytes_left -= amount
        if self._bytes_left < 1 and self._wish == float("inf"):
            self._wish = time.perf_counter() + self._after_s
        self.check()

    def check(self) -> None:
        """See `Progress`."""
        if time.perf_counter() > self._wish:
            raise Cancelled

    def late_s(self) -> float:
        """Time since the wish."""
        return time.perf_counter() - self._wish


def stop_latencies(paths: list[Path], during_spectra: bool) -> dict[str, float]:
    """How long after the wish to stop the call is back: the longest of several moments."""
    late = []
    for after_s in (0.5, 4.0) if during_spectra else (0.1, 0.3, 0.7):
        with open_set(spec_from_paths(paths[0], paths[1:], "generic")) as aligned:
            progress = Stop(during_spectra, after_s)
            progress.begin(total_bytes(aligned))
            try:
                analyze(aligned, progress=progress)
            except Cancelled:
                late.append(progress.late_s())
    return {"seconds": max(late), "cpu_s": 0.0, "peak_rss_mib": peak_rss_mib()}


SUBJECTS = {"reader": reader, "ours": ours, "loop": loop, "spectra": with_spectra}
STOPS = {"stop while reading": False, "stop in a spectrum": True}


def run_one(subject: str, paths: list[Path], repeats: int) -> dict[str, float]:
    """Best time of a subject, opening included, and the process's peak memory."""
    if subject in STOPS:
        return stop_latencies(paths, STOPS[subject])
    best, best_cpu = float("inf"), float("inf")
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        if subject == "floor":
            plain(paths)
        else:
            with open_set(spec_from_paths(paths[0], paths[1:], "generic")) as aligned:
                SUBJECTS[subject](aligned)
        best = min(best, time.perf_counter() - start)
        best_cpu = min(best_cpu, time.process_time() - start_cpu)
    return {"seconds": best, "cpu_s": best_cpu, "peak_rss_mib": peak_rss_mib()}


def peak_rss_mib() -> float:
    """This process's own peak; `ru_maxrss` on Linux starts from that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        found = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(found[0].split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def measure(subject: str, paths: list[Path], repeats: int) -> dict[str, float]:
    """`run_one` in a fresh process."""
    command = [sys.executable, __file__, "--child", subject, "--repeats", str(repeats)]
    done = subprocess.run([*command, *map(str, paths)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per (N, size)."""
    cases = [(n, args.mb) for n in args.models]
    if args.growth:
        cases = [(4, mb) for mb in (50, 100, 200, 400)]
    rows = []
    made: dict[int, list[Path]] = {}
    print("  N  MB/file  floor s  reader s   ours s  x floor  x reader   loop s  x loop  peak MiB")
    for count, mb in cases:
        if mb not in made:
            target = folder / str(mb)
            target.mkdir()
            most = max(n for n, size in cases if size == mb)
            made[mb] = make_family(target, most, mb, NARROW)
        paths = made[mb][: count + 1]
        for path in paths:
            path.read_bytes()
        row: dict[str, Any] = {"models": count, "mb": mb}
        for subject in ("floor", "reader", "ours"):
            row[subject] = measure(subject, paths, args.repeats)
        if count <= args.loop_up_to:
            row["loop"] = measure("loop", paths, 1)
        rows.append(row)
        print(_line(row), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    bottom, lowest, own = (row[s]["seconds"] for s in ("floor", "reader", "ours"))
    text = f"{row['models']:3} {row['mb']:8} {bottom:8.2f} {lowest:9.2f} {own:8.2f}"
    text += f" {own / bottom:8.2f} {own / lowest:9.2f}"
    naive = row.get("loop", {}).get("seconds")
    text += f" {naive:8.2f} {naive / own:7.1f}" if naive else f" {'':8} {'':7}"
    return text + f" {row['ours']['peak_rss_mib']:9.0f}"


def wide(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """3072-wide blocks, as in Flux and Chroma: the pass alone, with spectra, and stopped."""
    paths = sorted(folder.glob("*.safetensors")) or make_family(folder, 3, max(args.mb, 2000), WIDE)
    for path in paths:
        path.read_bytes()
    gigabytes = paths[0].stat().st_size / 1e9
    print(f"a base and 3 models of {gigabytes:.2f} GB")
    rows: list[dict[str, Any]] = []
    for subject in ("floor", "reader", "ours", "spectra", *STOPS):
        found = measure(subject, paths, 1)
        rows.append({"subject": subject, "gigabytes": gigabytes, **found})
        seconds, peak = found["seconds"], found["peak_rss_mib"]
        print(f"{subject:20} {seconds:8.2f} s  {peak:6.0f} MiB", flush=True)
    return rows


def touch_up(base: Path, model: Path, target: Path, share: float) -> None:
    """A model that is the base but for its first tensors, at least `share` of the bytes."""
    from safetensors.torch import load_file, save_file

    tensors, changed = load_file(base), load_file(model)
    total, taken = sum(t.nbytes for t in tensors.values()), 0
    for key in list(tensors):
        if taken >= share * total:
            break
        taken += tensors[key].nbytes
        tensors[key] = changed[key]
    save_file(tensors, target)


def add_one(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A seventh model, whole or one that changes a tenth: the whole pass against `extend`."""
    paths = make_family(folder, 7, args.mb, NARROW)
    touch_up(paths[0], paths[-1], folder / "part.safetensors", 0.1)
    rows = []
    print("new model       whole s  extend s  read again MiB")
    for label, new in (("full", paths[-1]), ("a tenth of it", folder / "part.safetensors")):
        with open_set(spec_from_paths(paths[0], paths[1:-1], "generic")) as aligned:
            known = analyze(aligned, rank_samples=0)
        seconds, reread = [], 0.0
        for once in (analyze, partial(extend, known=known)):
            best = float("inf")
            for _ in range(args.repeats):
                spec = spec_from_paths(paths[0], [*paths[1:-1], new], "generic")
                note = Note()
                begun = time.perf_counter()
                with open_set(spec) as aligned:
                    once(aligned, rank_samples=0, progress=note)
                best, reread = min(best, time.perf_counter() - begun), note.mebibytes
            seconds.append(best)
        rows.append({"new": label, "whole_s": seconds[0], "extend_s": seconds[1], "mib": reread})
        print(f"{label:14} {seconds[0]:8.2f} {seconds[1]:9.2f} {reread:15.1f}", flush=True)
    return rows


class Note(Progress):
    """Keeps how many MiB of known models were said to have been read again."""

    mebibytes = 0.0

    def note(self, text: str) -> None:
        """See `Progress`."""
        self.mebibytes = float(text.split(" MiB, ")[1].split(" ")[0].replace(",", ""))


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, nargs="+", default=[2, 4, 8, 12, 16])
    parser.add_argument("--mb", type=int, default=200, help="size of each file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loop-up-to", type=int, default=4, help="largest N for the slow loop")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep the files there; --wide uses them again")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(run_one(args.child, args.paths, args.repeats)))
        return
    print(f"{platform.machine()}, {usable_cores()} cores, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = (wide if args.wide else add_one if args.add else table)(folder, args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
