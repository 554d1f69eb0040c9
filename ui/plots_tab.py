"""The tab "How good are the models?": the plots that the scripts left in a model's folder."""

import base64
import html
from pathlib import Path

import gradio as gr

from ui import models, texts
from ui.shared import QUIETLY, Shared

# File in a model's folder, by the key of its text.
PLOTS = {
    "confusion_matrix": "{prefix}_confusion_matrix.png",
    "training_curves": "{prefix}_training_curves.png",
    "model_comparison": "model_comparison.png",
}


class PlotsTab:
    """The tab's parts and what happens between them."""

    def __init__(self, shared: Shared, blocks: gr.Blocks):
        self.shared = shared
        model = shared.model_menu("model", shared.first)
        parts = []
        for _ in PLOTS:
            parts += [gr.Markdown(), gr.HTML(elem_classes="plot")]
        changed = [blocks.load, model.change, shared.language.change]
        gr.on(changed, self.plots, [model, shared.language], parts, **QUIETLY)

    def plots(self, model: str, language: str) -> list:
        path, updates = self.shared.models[model], []
        for key, name in PLOTS.items():
            plot = path.parent / name.format(prefix=models.about(path).get("prefix"))
            if plot.is_file():
                said = texts.say(key, language)
                updates += [said, image(plot, alt=said.splitlines()[0].lstrip("# "))]
            else:
                updates += [texts.say("no_plot", language), ""]
        return updates


def image(path: Path, alt: str) -> str:
    """A PNG file as an HTML image. gr.Image would be a button without a name for a screen reader."""
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{content}">'
