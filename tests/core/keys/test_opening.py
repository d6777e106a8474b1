"""From paths to a set, and files that close."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import CompatibilityError, FileError
from orthomerge_core.keys.opening import open_set, spec_from_paths
from orthomerge_core.keys.setspec import ModelSpec, Repairs
from tests.fakes import MemorySource


def tensors(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return {f"blocks.{i}.w": torch.randn(4, 4, generator=generator) for i in range(3)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for i, name in enumerate(["base", "b", "a", "sub/a", "sub/base"]):
        save_file(tensors(i), tmp_path / f"{name}.safetensors")
    (tmp_path / "note.txt").write_text("no model")
    return tmp_path


def test_a_folder_stands_for_its_models_without_the_base(folder):
    spec = spec_from_paths(folder / "base.safetensors", [folder])
    assert spec.names() == ("a", "b")
    assert [m.file for m in spec.models] == ["a.safetensors", "b.safetensors"]
    assert spec.base.file == "base.safetensors"


def test_clashing_names_get_their_folder(folder):
    models = [folder / "a.safetensors", folder / "sub"]
    spec = spec_from_paths(folder / "base.safetensors", models)
    assert spec.names() == (folder.name, "sub", "base.safetensors")
    assert [m.file for m in spec.models] == [
        f"{folder.name}/a.safetensors",
        "sub/a.safetensors",
        "sub/base.safetensors",  # the base has that name, too
    ]


def test_the_same_file_twice_gets_a_number(folder):
    one = folder / "a.safetensors"
    spec = spec_from_paths(folder / "base.safetensors", [one, one])
    assert len(set(spec.names())) == 2
    assert str(folder) not in repr(spec) + str(spec.to_json())


def test_an_empty_folder_is_an_error(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CompatibilityError, match=r'an empty folder, "empty"\. Name a model'):
        spec_from_paths(folder / "base.safetensors", [tmp_path / "empty"])


def test_open_set_reads_and_closes(folder):
    spec = spec_from_paths(folder / "base.safetensors", [folder])
    with open_set(spec) as aligned:
        assert [m.name for m in aligned.models] == ["a", "b"]
        key = aligned.keys[0]
        out = torch.empty(16)
        aligned.model("a").read_into(key, out)
        assert torch.equal(out.view(4, 4), tensors(2)[key])
        assert aligned.model("base").report.file == "base.safetensors"
        assert aligned.numel(key) == 16
        with pytest.raises(KeyError):
            aligned.model("nobody")


def test_failure_closes_what_was_opened(folder, monkeypatch):
    closed = []
    import orthomerge_core.keys.opening as opening

    real = opening.open_source

    def spy(path, **options):
        found = real(path, **options)
        close = found.close
        monkeypatch.setattr(found, "close", lambda: (closed.append(path.name), close()))
        return found

    monkeypatch.setattr(opening, "open_source", spy)
    (folder / "b.safetensors").write_bytes(b"broken")
    repairs = Repairs(skip_misfits=False)
    with pytest.raises(FileError, match=r'"b\.safetensors"'):
        open_set(spec_from_paths(folder / "base.safetensors", [folder], repairs=repairs))
    assert sorted(closed) == ["a.safetensors", "base.safetensors"]


def test_no_fitting_model_says_why(folder):
    save_file({"x.lora_up.weight": torch.zeros(2)}, folder / "lo.safetensors")
    spec = spec_from_paths(folder / "base.safetensors", [folder / "lo.safetensors"])
    with pytest.raises(CompatibilityError) as error:
        open_set(spec)
    assert str(error.value).startswith('no model fits the base: "lo" is a LoRA for another')
    with open_set(spec, allow_empty=True) as aligned:
        assert aligned.models == () and len(aligned.skipped) == 1


def test_live_sources_stay_open_for_their_owner(folder):
    live = MemorySource("live", tensors(9))
    spec = spec_from_paths(folder / "base.safetensors", [folder / "a.safetensors"])
    spec = spec.with_model(ModelSpec("live", "live", source=live))
    with open_set(spec) as aligned:
        assert aligned.model("live").source is live


def test_a_spec_without_path_is_named(folder):
    spec = spec_from_paths(folder / "base.safetensors", []).with_model(ModelSpec("x", "x.st"))
    with pytest.raises(FileError, match=r'"x\.st" has no path\. Choose the file again\.'):
        open_set(spec)


def test_repairs_travel(folder):
    repairs = Repairs(fix_prefixes=False)
    spec = spec_from_paths(folder / "base.safetensors", [], "generic", repairs)
    assert spec.to_json()["repairs"] == {"fix_prefixes": False}
    with open_set(spec) as aligned:
        assert aligned.architecture.name == "generic" and aligned.models == ()
