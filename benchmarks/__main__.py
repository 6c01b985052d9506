"""`python -m benchmarks VERB`: simulates and measures the pipeline."""

from __future__ import annotations

from operations import program

VERBS = {
    "simulate": "benchmarks.simulate",
    "bench": "benchmarks.bench",
    "bench-check": "benchmarks.check",
    "drain": "benchmarks.drain",
}

main = program.Verbs(VERBS, help="Simulate and measure the pipeline; every verb answers --help.")

if __name__ == "__main__":
    program.run(main, "python -m benchmarks")
