"""Deployment: exports, runtimes, latency, and the comparison of all of them."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules={"comparison", "comparison_plot", "export", "latency", "runtimes", "timing_worker"}
)
