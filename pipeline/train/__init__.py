"""Training: a run, its loop, its checkpoints, and the parts of a recipe."""
