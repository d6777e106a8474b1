"""Quantized layers, one file per scheme: `detect` finds them, `source` reads them as float32."""
