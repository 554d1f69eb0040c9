"""Benchmarks: speed, memory, cost and faithfulness of explanations, robustness; each script writes a result file."""
