"""What a program does not need it does not load."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    "report.analysis_plots",
    "report.analysis_text",
    "report.optimizer_text",
    "report.lineage_plot",
    "optimize.delta_base",
    "forecast.forecast",
]


def test_importing_reports_and_the_optimizer_does_not_import_matplotlib():
    names = ", ".join(f"orthomerge_core.{name}" for name in MODULES)
    code = f"import sys, {names}; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
