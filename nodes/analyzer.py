"""DeltaGramAnalyzer: how the fine-tunes differ, in one pass over the files."""

from __future__ import annotations

from comfy_api.latest import io

from ..orthomerge_core.analysis.cache import AnalysisCache, analyze_cached
from ..orthomerge_core.io.hash_memo import HashMemo
from ..orthomerge_core.keys.opening import open_set
from ..orthomerge_core.keys.setspec import SetSpec
from ..orthomerge_core.report.analysis_plots import heatmaps
from ..orthomerge_core.report.analysis_text import analysis_report
from . import host
from .payloads import analysis_payload
from .widgets import picture, schema, ui_payload
from .wire import AnalysisWire, Models, OrthoAnalysis

__all__ = ["DeltaGramAnalyzer"]


class DeltaGramAnalyzer(io.ComfyNode):
    """Gram matrix, conflicts and spectra of all deltas; a second run reads nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A set, and how many matrices are looked at closely."""
        return schema(
            "DeltaGramAnalyzer",
            display_name="Delta Gram Analyzer",
            searchable_name="Delta Gram Analyzer (compare models)",
            description="Reads all models once and measures how their changes relate: size, "
            "direction, conflict and focus.",
            search_aliases=[
                "compare models",
                "model similarity",
                "model difference",
                "cosine similarity",
                "task vectors",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                Models.Input("models", tooltip="The set to analyze."),
                io.Int.Input(
                    "rank_samples",
                    default=5,
                    min=0,
                    max=64,
                    optional=True,
                    tooltip="How many of the largest matrices get a spectrum (effective rank, "
                    "SNR). 0 skips it; 5 is usual.",
                ),
            ],
            outputs=[
                OrthoAnalysis.Output(display_name="analysis", tooltip="For the optimizer."),
                io.Image.Output(display_name="heatmaps", tooltip="Cosine, novelty, conflict."),
                io.String.Output(display_name="report", tooltip="The findings, in words."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(cls, models: SetSpec, rank_samples: int = 5) -> io.NodeOutput:
        """Analyze, or take the result from the disk cache when no file has changed."""
        progress = host.HostProgress(cls.hidden.unique_id)
        cache = AnalysisCache(host.cache_dir("analysis"))
        memo = HashMemo(host.cache_dir("hashes"))
        with open_set(models) as aligned:
            analysis = analyze_cached(
                aligned, cache, rank_samples=rank_samples, memo=memo, progress=progress
            )
        progress.finish()
        text = analysis_report(analysis)
        payload = analysis_payload(analysis, text)
        wire = AnalysisWire(analysis, models)
        return io.NodeOutput(
            wire, picture(lambda: heatmaps(analysis)), text, ui=ui_payload(payload)
        )
