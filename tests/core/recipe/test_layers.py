import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthomerge_core.errors import RecipeError
from orthomerge_core.recipe.layers import MAX_LAYER_RULES, parse_layers
from orthomerge_core.recipe.sd_blocks import PRESETS, expanded


@pytest.mark.parametrize(
    ("text", "key", "block", "weight"),
    [
        ("", "double_blocks.7.img.weight", "double_blocks.7", 1.0),
        ("double_blocks.0-9=0.5", "double_blocks.7.img.weight", "double_blocks.7", 0.5),
        ("double_blocks.0-9=0.5", "double_blocks.10.img.weight", "double_blocks.10", 1.0),
        ("double_blocks.0-9=0.5, default=0", "single_blocks.1.x", "single_blocks.1", 0.0),
        ("default=0, double_blocks.0-9=0.5", "double_blocks.0.x", "double_blocks.0", 0.5),
        ("double_blocks.1=0.5", "double_blocks.10.x", "double_blocks.10", 1.0),
        ("double_blocks=0.5", "double_blocks.10.x", "double_blocks.10", 0.5),
        ("double_blocks.0-3.img_attn=2", "double_blocks.2.img_attn.qkv", "double_blocks.2", 2.0),
        ("*attn*=0\n double_blocks.2=3", "double_blocks.2.img_attn.qkv", "double_blocks.2", 0.0),
        ("*attn*=0\n double_blocks.2=3", "double_blocks.2.mlp.0", "double_blocks.2", 3.0),
        ("final_layer=-1e-1", "final_layer.linear.weight", "final_layer", -0.1),
        ("img_in.weight=2", "img_in.weight", "img_in", 2.0),
        ("input_blocks.4=0.25", "model.input_blocks.4.0.w", "input_blocks.4", 0.25),
    ],
)
def test_weights(text: str, key: str, block: str, weight: float):
    assert parse_layers(text).weight(key, block) == weight


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("double_blocks", '"double_blocks" is not a pair'),
        ("=1", '"=1" is not a pair'),
        ("a=x", 'weight of "a": expected a finite number, received "x"'),
        ("a=nan", "expected a finite number"),
        ("a=inf", "expected a finite number"),
        ("a.9-0=1", "runs backwards. Write 0-9"),
        (",".join(["1"] * 24), "24 numbers alone: expected 26 or 25 (Stable Diffusion 1 and 2)"),
        ("grad-w", '"grad-w" is not a pair and no preset. Did you mean "GRAD_V"? The presets are'),
        (",".join(f"a{i}=1" for i in range(MAX_LAYER_RULES + 1)), "too many pairs"),
    ],
)
def test_errors_name_the_pair(text: str, says: str):
    with pytest.raises(RecipeError) as caught:
        parse_layers(text)
    assert says in str(caught.value)


def test_unused_patterns_are_named():
    layers = parse_layers("blocks.0=1, blcks.1=2, *attn*=0")
    assert layers.unused([("blocks.0.w", "blocks.0")]) == ("blcks.1", "*attn*")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str):
    try:
        weight = parse_layers(text).weight("blocks.0.w", "blocks.0")
    except RecipeError:
        return
    assert weight == weight  # finite, never NaN
    assert abs(weight) != float("inf")


SD15 = [f"{side}_blocks.{i}" for side in ("input", "output") for i in range(12)]
SD15 += ["middle_block", "time_embed", "out", "text_encoder.l.layers.3"]
SDXL = [b for b in SD15 if not b.endswith((".9", ".10", ".11"))] + ["label_emb"]


def pairs(blocks):
    return [(f"{block}.weight", block) for block in blocks]


@pytest.mark.parametrize(
    ("text", "blocks", "hit"),
    [
        ("IN00=0", SD15, {"input_blocks.0", "time_embed"}),
        ("IN00=0", SDXL, {"input_blocks.0", "time_embed", "label_emb"}),
        ("in04-05=0", SD15, {"input_blocks.4", "input_blocks.5"}),
        ("IN04-IN05=0", SD15, {"input_blocks.4", "input_blocks.5"}),
        ("M00=0", SD15, {"middle_block"}),
        ("MID=0", SD15, {"middle_block"}),
        ("OUT11=0", SD15, {"output_blocks.11", "out"}),
        ("OUT08=0", SD15, {"output_blocks.8"}),
        ("OUT08=0", SDXL, {"output_blocks.8", "out"}),
        ("BASE=0", SD15, {"text_encoder.l.layers.3"}),
    ],
)
def test_block_names_of_stable_diffusion(text, blocks, hit):
    layers = parse_layers(text, blocks)
    assert {b for k, b in pairs(blocks) if layers.weight(k, b) == 0.0} == hit


@pytest.mark.parametrize(("count", "size", "base"), [(26, 12, 1), (20, 9, 1), (25, 12, 0)])
@pytest.mark.parametrize("joint", [",", ", ", " ", "\n"])
def test_pasted_numbers_are_one_weight_per_block(count, size, base, joint):
    blocks = SD15 if size == 12 else SDXL
    numbers = [i / 100 for i in range(1, count + 1)]
    layers = parse_layers(joint.join(map(str, numbers)), blocks)
    order = [f"input_blocks.{i}" for i in range(size)] + ["middle_block"]
    order += [f"output_blocks.{i}" for i in range(size)]
    order = ["text_encoder.l.layers.3"] * base + order
    assert [layers.weight(f"{b}.w", b) for b in order] == numbers
    assert layers.problems(pairs(blocks)) == []


def test_other_counts_of_numbers_are_refused():
    with pytest.raises(RecipeError, match="layers: 3 numbers alone"):
        parse_layers("0.1, 0.2, 0.3")


def test_presets_are_curves_over_the_blocks_and_leave_text_encoders_alone():
    v = parse_layers("GRAD_V", SDXL)
    weight = {b: v.weight(f"{b}.w", b) for b in SDXL}
    assert weight["input_blocks.0"] == weight["output_blocks.8"] == 1.0
    assert weight["middle_block"] == 0.0 and weight["text_encoder.l.layers.3"] == 1.0
    assert expanded("GRAD_V", 8).startswith("IN00=1, IN01=0.8889") and "OUT09" not in expanded(
        "GRAD_V", 8
    )
    for name in PRESETS:
        assert parse_layers(name, SD15).problems(pairs(SD15)) == []


@pytest.mark.parametrize(
    ("text", "blocks", "says"),
    [
        ("IN09=0", SDXL, "This model has the blocks IN00-08, M00 and OUT00-08."),
        ("double_blocks.1=0", SD15, "The blocks are input_blocks.0"),
        ("input_block.1=0", SD15, 'Did you mean "input_blocks.1"?'),
        ("IN00=0", ["double_blocks.0"], "The blocks are double_blocks.0."),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_a_suggestion(text, blocks, says):
    (error,) = parse_layers(text, blocks).problems(pairs(blocks))
    assert str(error).startswith(f'layers: "{text.split("=")[0]}" matches no tensor. ')
    assert says in str(error)


def test_base_may_match_nothing():
    assert parse_layers("BASE=0.5", ["input_blocks.0"]).problems(pairs(["input_blocks.0"])) == []


def test_numbers_that_python_cannot_read_are_named():
    long = "9" * 5000
    with pytest.raises(RecipeError, match="has numbers that are too long: expected at most 9"):
        parse_layers(f"blocks.0-{long}=1")
    # ² is a digit for str.isdigit and none for int
    assert parse_layers("blocks.0-9=0.5").weight("blocks.².weight", "blocks.²") == 1.0
    assert parse_layers("blocks.0-9=0.5").weight(f"blocks.{long}.weight", "blocks") == 1.0
    with pytest.raises(RecipeError, match="weight of"):
        parse_layers("a=1" + "0" * 400)


def test_too_many_pairs_end_while_they_are_read():
    with pytest.raises(RecipeError, match="too many pairs: expected at most 256, received more"):
        parse_layers("a=1," * 257)
