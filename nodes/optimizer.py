"""DeltaBaseOptimizer: the best parent for each model, and a proposal with reasons."""

from __future__ import annotations

from comfy_api.latest import io

from ..orthomerge_core.optimize.delta_base import optimize_parents
from ..orthomerge_core.optimize.settings import PARAMS, OptimizeSettings
from ..orthomerge_core.report.lineage_plot import lineage
from ..orthomerge_core.report.optimizer_text import optimizer_report
from . import host
from .payloads import mix_payload
from .widgets import param_input, picture, schema, ui_payload
from .wire import AnalysisWire, Mix, MixWire, OrthoAnalysis

__all__ = ["DeltaBaseOptimizer"]

_PLAIN = ("search", "redundancy", "repeat_threshold")


class DeltaBaseOptimizer(io.ComfyNode):
    """Works on the analysis alone; no file is read."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """An analysis, and the core's own settings."""
        settings = [
            param_input(p) if p.name in _PLAIN else param_input(p, advanced=True) for p in PARAMS
        ]
        return schema(
            "DeltaBaseOptimizer",
            display_name="Delta Base Optimizer",
            searchable_name="Delta Base Optimizer (add difference)",
            description="Finds which model each fine-tune is best measured against, switches "
            "duplicates off, and proposes the rows of the table.",
            search_aliases=[
                "add difference",
                "merge proposal",
                "merge advisor",
                "parent model",
                "auto merge",
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[OrthoAnalysis.Input("analysis", tooltip="From the analyzer."), *settings],
            outputs=[
                Mix.Output(display_name="mix", tooltip="The proposal, for the mixer."),
                io.Image.Output(display_name="lineage", tooltip="Who descends from whom."),
                io.String.Output(display_name="report", tooltip="The proposal, in words."),
            ],
        )

    @classmethod
    @host.guarded
    def execute(cls, analysis: AnalysisWire, **settings: object) -> io.NodeOutput:
        """Search for the parents and explain the proposal."""
        progress = host.HostProgress(cls.hidden.unique_id)
        proposal = optimize_parents(
            analysis.analysis, OptimizeSettings.from_json(settings), progress
        )
        progress.finish()
        wire = MixWire(proposal, analysis.analysis)
        text = optimizer_report(proposal)
        payload = mix_payload(wire, proposal.names) | {"text": text}
        drawn = picture(lambda: lineage(analysis.analysis, proposal))
        return io.NodeOutput(wire, drawn, text, ui=ui_payload(payload))
