"""The tab "Where is it wrong?": a model's confusion matrix, and the test images behind the cell that is clicked."""

import gradio as gr

from pipeline.errors import UserError
from pipeline.explain import explainer
from ui import answer_html, answers, confusions, examples, matrix_html, models, texts
from ui.shared import QUIETLY, Shared


class WrongTab:
    """The tab's parts and what happens between them."""

    def __init__(self, shared: Shared, tab: gr.Tab):
        self.shared = shared
        shared.make(gr.Markdown, {"value": "matrix_intro"})
        model = shared.model_menu("model", shared.first)
        opened = gr.State(False)  # nothing is loaded before the tab is looked at
        matrix = gr.HTML(elem_id="matrix", js_on_load=matrix_html.SCRIPT)
        cell = gr.HTML(elem_id="cell")
        chosen = [model, shared.language]
        one_by_one = {"concurrency_id": "matrix", "show_progress": "minimal", "trigger_mode": "always_last"}
        one_by_one["api_visibility"] = "private"
        tab.select(lambda: True, None, opened, **QUIETLY)
        gr.on(
            [opened.change, model.change, shared.language.change],
            self.matrix,
            [opened, *chosen],
            [matrix, cell],
            **one_by_one,
        )
        matrix.click(self.cell, chosen, cell, **one_by_one)

    def matrix(self, opened: bool, title: str, language: str) -> tuple[str, str]:
        """The confusion matrix, or a line that says why there is none; the cell's images are cleared."""
        if not opened:
            return "", ""
        found, problem = self.confusions(title, language)
        return matrix_html.table(found, language) if found else answer_html.message(problem), ""

    def cell(self, title: str, language: str, event: gr.EventData) -> str:
        """Test images of the cell that was clicked, with their heat maps."""
        found, problem = self.confusions(title, language)
        if not found:
            return answer_html.message(problem)
        truth, predicted = map(int, event.cell.split(","))
        images = found.images[found.cell(truth, predicted)[: matrix_html.MOST]]
        try:
            heat = answers.maps(self.shared.models[title], images, explainer.DEFAULT_METHOD)
        except UserError as error:
            return answer_html.message(texts.problem(error, language), alert=True)
        return matrix_html.cell(found, truth, predicted, heat, language)

    def confusions(self, title: str, language: str) -> tuple[confusions.Confusions | None, str]:
        """A model's confusions, else what to say instead."""
        path = self.shared.models[title]
        try:
            return confusions.of_model(path, self.shared.data_dir), ""
        except confusions.Missing as missing:
            dataset = examples.title(models.about(path).get("dataset"), language)
            return None, texts.say(str(missing), language, data=dataset, file=path.name)
        except UserError as error:
            return None, texts.problem(error, language)
