"""Measures the pipeline and simulates it at sizes nobody uploads to try it."""
