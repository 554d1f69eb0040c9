"""Plans: lists of training runs, studies and reports, worked through on this machine or on a Ray cluster."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "archives",
        "cluster",
        "execution",
        "hosts",
        "local",
        "node",
        "product",
        "search",
        "staging",
        "sweep",
        "sweep_plot",
        "tasks",
    },
)
