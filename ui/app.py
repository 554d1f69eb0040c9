"""A page that asks the saved models about your own picture: which class it is, and why.

    python ui/app.py                                # all models in output/ and output/demo/
    python ui/app.py --port 8000 --output-dir runs  # elsewhere
    python ui/app.py --host 0.0.0.0 --password WORD # for the whole network, with a password

Serves http://127.0.0.1:7860, to this computer alone unless --host says otherwise, and calls no other computer. Pages
of other sites, and names that are not this computer's, get no answer.
Needs Gradio: pip install -e ".[ui]". ui/screenshots.py takes the screenshots in docs/.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from ui import network

SERVED = "served"  # folder in the page's own, which ends with it: what Gradio may send to a browser


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    host: str = flag("127.0.0.1", "address to listen on; 0.0.0.0 lets the whole network in")
    port: int = flag(7860, "port to listen on", minimum=1, maximum=65535)
    password: str | None = flag(None, "password that visitors must give, with any name; default: none is asked for")
    data_dir: str | None = flag(None, "folder with mnist.npz or cifar-100-binary.tar.gz, for the test images")
    output_dir: str = flag("output", "folder with the models and their plots; its demo/ is looked at as well")
    collected: str = flag(
        "data/collected", "folder for pictures that visitors ask to keep: --dataset data/collected trains on them"
    )


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    config = parse(Config, argv, about=__doc__)
    if config.password == "":
        raise UserError("--password is empty; give one, or leave the flag out")
    network.check_free(config.host, config.port)
    opened = network.opened(config.host, config.port, config.password)
    if opened:
        print(f"warning: {opened}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["GRADIO_TEMP_DIR"] = str(folder / SERVED)  # read while Gradio is imported
        try:
            from ui.page import Page  # here, because --help needs neither Gradio nor Keras
        except ModuleNotFoundError as error:
            if error.name != "gradio":
                raise
            raise UserError('the page needs Gradio; run: pip install -e ".[ui]"') from error
        network.stay_home(config.host)
        page = Page(Path(config.output_dir), config.data_dir, folder, Path(config.collected))
        page.serve(config.host, config.port, folder / SERVED, config.password)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
