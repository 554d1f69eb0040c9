"""The tab "How good are the models?": the plots that the scripts left in a model's folder."""

import gradio as gr
from PIL import Image

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
            parts.append(gr.Markdown())
            parts.append(gr.Image(format="png", show_label=False, buttons=["fullscreen"], interactive=False))
        changed = [blocks.load, model.change, shared.language.change]
        gr.on(changed, self.plots, [model, shared.language], parts, **QUIETLY)

    def plots(self, model: str, language: str) -> list:
        path, updates = self.shared.models[model], []
        for key, name in PLOTS.items():
            plot = path.parent / name.format(prefix=models.about(path).get("prefix"))
            there = plot.is_file()
            updates.append(texts.say(key if there else "no_plot", language))
            updates.append(gr.update(value=Image.open(plot) if there else None, visible=there))
        return updates
