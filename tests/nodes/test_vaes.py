"""Which files give a VAE: those that ComfyUI lists, and no others."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def vaes(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for VAEs with a file, one in a sub-folder, and one that is no safetensors."""
    import folder_paths

    place = folders / "vae"
    (place / "sub").mkdir(parents=True)
    for name in ("kl.safetensors", "sub/kl-2.safetensors"):
        save_file({"decoder.conv_in.weight": torch.ones(2)}, place / name)
    (place / "old.ckpt").write_bytes(b"pickle")
    known = folder_paths.folder_names_and_paths
    monkeypatch.setitem(known, "vae", ([str(place)], folder_paths.supported_pt_extensions))
    return place


def test_only_safetensors_are_listed(host: ModuleType, vaes: Path):
    assert host.vae_names() == ["kl.safetensors", "sub/kl-2.safetensors"]


def test_without_a_folder_there_are_none(host: ModuleType, folders: Path):
    assert host.vae_names() == []


@pytest.mark.parametrize("name", ["sub/kl-2.safetensors", "sub\\kl-2.safetensors"])
def test_a_name_is_found_with_either_separator(host: ModuleType, vaes: Path, name: str):
    assert host.resolve_vae(name) == vaes / "sub" / "kl-2.safetensors"


def test_a_checkpoint_gives_its_vae_too(host: ModuleType, vaes: Path):
    assert host.resolve_vae("checkpoints:base.safetensors").parent.name == "checkpoints"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kl2.safetensors", "Did you mean"),
        ("../vae/kl.safetensors", "Did you mean|Refresh"),
        ("old.ckpt", "Refresh"),
    ],
)
def test_nothing_else_is(host: ModuleType, errors: ModuleType, vaes: Path, name: str, says: str):
    with pytest.raises(errors.FileError, match=f"no VAE .*{says}"):
        host.resolve_vae(name)


def test_the_mixer_runs_again_when_the_file_changes(pack: ModuleType, vaes: Path):
    def told(**inputs: Any) -> str:
        return pack.OrthoMixer.fingerprint_inputs(**inputs)

    before = told(vae="kl.safetensors", table="")
    assert before == told(vae="kl.safetensors", table="x") != told(vae="base")
    save_file({"decoder.conv_in.weight": torch.ones(3)}, vaes / "kl.safetensors")
    assert told(vae="kl.safetensors") != before
    assert told(vae="base") == told(vae="merge") == told(vae=["1", 0]) == told() == ""
