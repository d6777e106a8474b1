from dataclasses import replace

from orthomerge_core.execute.output.report import MergeReport
from orthomerge_core.report.merge_text import merge_report, merge_summary

REPORT = MergeReport(
    content_hash="c" * 32,
    method="average",
    output_dtype="base",
    retention={"a|b": 0.5, "idle": None},
    retention_by_block={
        "a|b": {"blocks.0": 0.25, "final": None},
        "idle": {"blocks.0": None, "final": None},
    },
    leave_one_out={"a|b": 0.9, "idle": 0.0},
    delta_norm=1.0,
    rounding_frac=0.031,
    keys={"merged": 5, "from_base": 2, "repaired": 1, "extra": 3},
    repaired_keys=("blocks.0.w",),
    seconds=1.26,
    peak_rss_mib=512.4,
    source_hashes={"base": "b" * 32},
    file="merged.safetensors",
    notes=("Something.",),
)


def test_the_summary_is_sentences():
    assert merge_summary(REPORT) == [
        "Merged 5 tensors with average to merged.safetensors in 1.3 s, "
        "stored in the base's dtypes.",
        "Retention: a|b 50.0 %, idle no change.",
        "Rounding to the output's dtype moves the weights by 3.1 % of the merge's own change.",
        "2 tensors are the base's own; 1 tensor not finite and replaced; "
        "3 keys of the models not in the base.",
        f"Content hash {'c' * 32}. Peak memory of the process: 512 MiB.",
    ]


def test_the_report_is_markdown_with_every_part():
    text = merge_report(REPORT)
    assert "| a\\|b | 50.0 % | 50.0 % | 90.0 % |" in text
    assert "| blocks.0 | 25.0 % | no change |" in text
    assert "- `blocks.0.w`" in text
    assert "- Something." in text
    assert f"| base | `{'b' * 32}` |" in text


def test_many_blocks_show_the_extremes():
    shares = {f"blocks.{i}": i / 100 for i in range(40)}
    text = merge_report(replace(REPORT, retention={"a": 0.2}, retention_by_block={"a": shares}))
    assert "12 of 40 blocks: those that keep most and least of a." in text
    assert "| blocks.0 | 0.0 % |" in text
    assert "| blocks.39 | 39.0 % |" in text
    assert "| blocks.20 |" not in text


def test_without_rows_there_is_no_table():
    text = merge_report(replace(REPORT, retention={}, retention_by_block={}, leave_one_out={}))
    assert "What is left" not in text
