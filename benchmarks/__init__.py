"""Measures the pipeline, and simulates it at sizes too large to try."""
