"""Saved models: one file with weights, classes and provenance, opened with care wherever it came from."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "adoption",
        "arithmetic",
        "contract",
        "flat",
        "h5_scan",
        "keras2",
        "macs",
        "network_plot",
        "novelty",
        "probabilities",
        "saved_model",
        "untrusted",
    },
)
