"""Report: result files in, Markdown tables, documents and model cards out."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules={"cards", "markdown", "reliability", "speed", "tables"}
)
