"""Every quantization scheme, alone, in stacks and mixed, against its definition in float64."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st
from safetensors.torch import save_file

from orthomerge_core.errors import FileChangedError, HeaderError, UnsupportedError
from orthomerge_core.io.opening import open_source
from orthomerge_core.io.quant.registry import all_schemes
from orthomerge_core.keys.align import align
from tests.fakes import MemorySource
from tests.quantized import BUILDERS, Layer, close, expert_stack, marker

WEIGHT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
NO_WEIGHTS = (torch.int64, torch.uint8, torch.bool, torch.complex64)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def read_in_pieces(source, key, step):
    out = torch.empty(source.entries[key].numel)
    for low in range(0, len(out), step):
        source.read_into(key, out[low : low + step], low)
    return out.view(source.entries[key].shape)


def stored(layers, *, told="marker"):
    """The tensors and metadata of a file with these layers; `told`: where the formats stand."""
    tensors, listed = {}, {}
    for name, layer in layers.items():
        for suffix, tensor in {**layer.sides, **layer.junk}.items():
            tensors[f"{name}.{suffix}"] = tensor.contiguous()
        if told == "marker":
            tensors[f"{name}.comfy_quant"] = marker(**layer.options)
        else:
            listed[name] = layer.options
    if told == "marker":
        return tensors, None
    return tensors, {"_quantization_metadata": json.dumps({"layers": listed})}


def opened(folder, layers, **options):
    tensors, metadata = stored(layers, **options)
    save_file(tensors, folder / "m.safetensors", metadata)
    return open_source(folder / "m.safetensors")


def test_every_registered_format_has_a_definition_here():
    built = {build(seeded(0)).options["format"] for build in BUILDERS.values()}
    assert built == set(all_schemes())


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("told", ["marker", "metadata"])
@pytest.mark.parametrize("step", [7, 10**6])
def test_a_layer_reads_as_defined(tmp_path, kind, told, step):
    layer = BUILDERS[kind](seeded(1))
    with opened(tmp_path, {"l": layer}, told=told) as source:
        assert list(source.entries) == ["l.weight"]
        assert source.entries["l.weight"].shape == tuple(layer.value.shape)
        assert close(read_in_pieces(source, "l.weight", step), layer)


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("experts", [1, 3])
@pytest.mark.parametrize("step", [777, 10**6])
def test_a_stack_of_experts_reads_as_each_of_them(tmp_path, kind, experts, step):
    layer = expert_stack(seeded(2), BUILDERS[kind], experts)
    with opened(tmp_path, {"l": layer}) as source:
        assert source.entries["l.weight"].shape == (experts, *layer.value.shape[1:])
        assert close(read_in_pieces(source, "l.weight", step), layer)


@pytest.mark.parametrize("kind", ["mxfp8", "nvfp4", "convrot_w4a4", "awq_w4a16", "asym"])
def test_a_third_axis_is_a_stack_even_if_nobody_says_so(tmp_path, kind):
    layer = expert_stack(seeded(3), BUILDERS[kind], 2)
    del layer.options["num_experts"]
    with opened(tmp_path, {"l": layer}) as source:
        assert close(source.read("l.weight"), layer)


def test_experts_may_share_a_scale(tmp_path):
    layer = expert_stack(seeded(4), BUILDERS["nvfp4"], 3)
    first = layer.sides["weight_scale_2"][0]
    layer.value *= (first / layer.sides["weight_scale_2"]).double()[:, None, None]
    layer.sides["weight_scale_2"], layer.roundings = first, 6
    with opened(tmp_path, {"l": layer}) as source:
        assert close(source.read("l.weight"), layer)


def plain(seed, dtype):
    found = torch.randn(3, 5, generator=seeded(seed)) * 4
    return found.to(dtype)


@st.composite
def files(draw):
    """Layers by name, plain tensors by key, and how the file is laid out."""
    seeds = st.integers(0, 10**6)
    layers: dict[str, Layer] = {}
    for i in range(draw(st.integers(0, 3))):
        build, rng = BUILDERS[draw(st.sampled_from(sorted(BUILDERS)))], seeded(draw(seeds))
        experts = draw(st.sampled_from((0, 0, 2)))
        layers[f"blocks.{i}.w"] = expert_stack(rng, build, experts) if experts else build(rng)
    dtypes = (*WEIGHT_DTYPES, *NO_WEIGHTS, torch.float8_e4m3fn, torch.float8_e5m2)
    kinds = draw(st.lists(st.sampled_from(dtypes), min_size=1, max_size=4))
    tensors = {f"plain.{i}": plain(draw(seeds), dtype) for i, dtype in enumerate(kinds)}
    told = draw(st.sampled_from(("marker", "metadata")))
    return layers, tensors, told, draw(st.booleans()), draw(st.integers(1, 5000))


@given(files())
@fuzzing(max_examples=60)
def test_any_mixture_reads_as_defined_and_scales_are_no_weights(tmp_path_factory, file):
    layers, tensors, told, sharded, step = file
    folder = tmp_path_factory.mktemp("mixed")
    kept, metadata = stored(layers, told=told)
    names = sorted({**kept, **tensors})
    parts = ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")
    for part, own in zip(parts, (names[::2], names[1::2]), strict=True):
        chosen = {n: {**kept, **tensors}[n] for n in (own if sharded else names)}
        save_file(chosen, folder / (part if sharded else "m.safetensors"), metadata)
    with open_source(folder / (parts[0] if sharded else "m.safetensors")) as source:
        assert set(source.entries) == {f"{name}.weight" for name in layers} | set(tensors)
        for name, layer in layers.items():
            assert close(read_in_pieces(source, f"{name}.weight", step), layer), name
        for key, tensor in tensors.items():
            if source.entries[key].is_float:
                assert torch.equal(read_in_pieces(source, key, step), tensor.double().float())
            raw = source.read_raw(key)
            assert raw.dtype == tensor.dtype and torch.equal(
                raw.view(torch.uint8), tensor.contiguous().view(torch.uint8)
            )


@pytest.mark.parametrize("kind", BUILDERS)
def test_no_scale_or_marker_reaches_a_method(tmp_path, kind):
    """What a method sees are the set's keys, whether the base or a model is quantized."""
    layer = BUILDERS[kind](seeded(5))
    weights = {"l.weight": layer.value.float(), "l.bias": torch.ones(3)}
    quantized = {"l": layer}
    tensors, _ = stored(quantized)
    save_file({**tensors, "l.bias": torch.ones(3)}, tmp_path / "q.safetensors")
    for other_is_base in (True, False):
        with open_source(tmp_path / "q.safetensors") as source:
            pair = (MemorySource("p", weights), source)
            base, model = pair if other_is_base else pair[::-1]
            aligned = align(base, [("m", model)])
            assert set(aligned.keys) == {"l.weight", "l.bias"} and aligned.passthrough == ()
            found = aligned.models[0]
            assert set(found.segments) == {"l.weight", "l.bias"} and found.report.extra == 0


def refused(tmp_path, layer):
    with pytest.raises(UnsupportedError) as caught:
        opened(tmp_path, {"l": layer})
    return str(caught.value)


def test_svdquant_is_refused_by_name(tmp_path):
    layer = BUILDERS["int8"](seeded(6))
    layer.options["format"] = "svdquant_w4a4"
    assert refused(tmp_path, layer) == (
        'layer "l" in "m.safetensors" is quantized by SVDQuant (nunchaku), whose weights exist '
        "only together with its activations. Use the BF16, FP8 or GGUF version of this model."
    )


@pytest.mark.parametrize("kind", ["fp8", "mxfp8", "nvfp4", "awq_w4a16"])
def test_a_rotation_that_the_scheme_does_not_know(tmp_path, kind):
    layer = BUILDERS[kind](seeded(6))
    layer.options["convrot"] = True
    form = layer.options["format"]
    assert f"is rotated (convrot), which {form} does not define" in refused(tmp_path, layer)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("int8", "weight_zeros"), ("fp8", "pre_quant_scale"), ("mxfp8", "weight_scale_2")],
)
def test_a_scale_that_the_scheme_does_not_know(tmp_path, kind, suffix):
    layer = BUILDERS[kind](seeded(6))
    layer.sides[suffix] = torch.ones(1)
    assert f'has a "{suffix}", which' in refused(tmp_path, layer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_experts": 3}, "unknown num_experts: expected the first axis of [2, 5, 32], receive"),
        ({"convrot_groupsize": 48}, "convrot_groupsize: expected a power of 4 that divides 64"),
        ({"group_size": 5}, "group_size: expected 4, 8 or a multiple of 16, received 5"),
        ({"group_size": 8}, "row width: expected 16 or 24 bytes, received 32"),
    ],
)
def test_stacks_and_groups_that_do_not_add_up(tmp_path, change, words):
    layer = expert_stack(seeded(7), BUILDERS["asym"], 2)
    layer.options.update(change)
    assert words in refused(tmp_path, layer)


@pytest.mark.parametrize(
    ("kind", "suffix", "tensor", "words"),
    [
        (
            "awq_w4a16",
            "weight_scale",
            torch.ones(3, 6),
            "number of groups: expected a divisor of 64, received 3",
        ),
        ("mxfp8", "weight_scale", torch.ones(3), "scale dtype: expected U8 or F8_E8M0, received F"),
        ("convrot_w4a4", "weight_scale", torch.ones(4), "row scales: expected 5, received 4"),
    ],
)
def test_scales_that_do_not_add_up(tmp_path, kind, suffix, tensor, words):
    layer = BUILDERS[kind](seeded(7))
    layer.sides[suffix] = tensor
    assert words in refused(tmp_path, layer)


def test_a_rotation_of_impossible_size(tmp_path):
    layer = BUILDERS["convrot_w4a4"](seeded(7))
    layer.options["convrot_groupsize"] = 24
    assert "convrot_groupsize: expected a power of 4 that divides 32" in refused(tmp_path, layer)


def test_scales_for_another_number_of_experts(tmp_path):
    layer = expert_stack(seeded(7), BUILDERS["convrot_w4a4"], 3)
    layer.sides["weight_scale"] = torch.ones(2, 5)
    assert "weight_scale shape: expected [3, …], received [2, 5]" in refused(tmp_path, layer)


def test_a_stack_without_experts(tmp_path):
    layer = expert_stack(seeded(7), BUILDERS["convrot_w4a4"], 3)
    layer.sides["weight"], layer.options["num_experts"] = torch.zeros(0, 5, 16).char(), 0
    assert "number of experts: expected 1 to 4096, received 0" in refused(tmp_path, layer)


@pytest.mark.parametrize("tree", ["{}", '{"layers": []}', '{"layers": 3}'])
def test_metadata_without_layers(tmp_path, tree):
    save_file({"a": torch.ones(1)}, tmp_path / "m.safetensors", {"_quantization_metadata": tree})
    with pytest.raises(
        HeaderError, match=r'"_quantization_metadata" in .* lists no layers: expected'
    ):
        open_source(tmp_path / "m.safetensors")


def test_a_quantized_file_is_known_by_its_bytes(tmp_path):
    layer = BUILDERS["int8"](seeded(7))
    with opened(tmp_path, {"l": layer}) as source:
        first = source.fingerprint()
        source.check_unchanged()
        with open_source(tmp_path / "m.safetensors") as again:
            assert again.fingerprint() == first
        save_file({"a": torch.ones(4)}, tmp_path / "m.safetensors")
        with pytest.raises(FileChangedError, match=r'"m\.safetensors" '):
            source.check_unchanged()


@pytest.mark.parametrize(
    ("suffix", "tensor", "words"),
    [
        ("weight_s_channel", torch.ones(4), "number of row scales: expected 5, received 4"),
        ("weight_codebook", torch.ones(15), "weight_codebook shape: expected (16,), received (15,"),
        ("weight_correction", torch.ones(2, 5), "weight_correction shape: expected (4, 5)"),
        ("weight_s_rel", torch.ones(5, 4).char(), "group scale dtype"),
        ("weight_s_rel", torch.ones(4, 4), "rows of group scales: expected 5, received 4"),
    ],
)
def test_asym_sides_that_do_not_add_up(tmp_path, suffix, tensor, words):
    layer = BUILDERS["asym"](seeded(8))
    layer.sides[suffix] = tensor
    assert words in refused(tmp_path, layer)


def test_six_bits_know_no_codebook(tmp_path):
    layer = BUILDERS["asym six bits"](seeded(8))
    layer.sides["weight_codebook"] = torch.ones(16)
    assert "6-bit layout: expected neither codebook nor correction" in refused(tmp_path, layer)


@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (6, True)])
@pytest.mark.parametrize("step", [300, 10**6])
def test_asym_agrees_with_comfy_kitchen(tmp_path, bits, symmetric, step):
    """Up to the rounding of its rotation, which is done in float32."""
    layout = pytest.importorskip("comfy_kitchen.tensor.w4a8_int8").AsymW4A8Int8Layout
    torch.manual_seed(0)
    data, params = layout.quantize(torch.randn(6, 512), bits=bits, symmetric=symmetric)
    sides = {"weight": data, "weight_s_rel": params.scale, "weight_s_channel": params.s_channel}
    if params.codebook is not None:
        sides["weight_codebook"] = params.codebook
    if params.correction is not None:
        sides["weight_correction"] = params.correction
    options = {"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 256}
    theirs = layout.dequantize(data, params)
    with opened(tmp_path, {"l": Layer(sides, options, theirs)}) as source:
        assert source.entries["l.weight"].quant == "asym_w4a8_int8"
        got = read_in_pieces(source, "l.weight", step)
    torch.testing.assert_close(got, theirs, rtol=1e-5, atol=2e-6)


def test_a_marker_at_the_name_without_prefix(tmp_path):
    layer = BUILDERS["int8"](seeded(9))
    prefixed = {f"model.diffusion_model.l.{s}": t for s, t in layer.sides.items()}
    save_file({**prefixed, "l.comfy_quant": marker(**layer.options)}, tmp_path / "m.safetensors")
    with open_source(tmp_path / "m.safetensors") as source:
        assert close(source.read("model.diffusion_model.l.weight"), layer)


def test_metadata_may_name_the_format_alone(tmp_path):
    layer = BUILDERS["int8"](seeded(9))
    layers = {"_quantization_metadata": json.dumps({"layers": {"l": "int8_tensorwise"}})}
    save_file({f"l.{s}": t for s, t in layer.sides.items()}, tmp_path / "m.safetensors", layers)
    with open_source(tmp_path / "m.safetensors") as source:
        assert close(source.read("l.weight"), layer)
