"""Benchmarks: speed, memory, the cost of explanations and their faithfulness; each script writes a result file."""
