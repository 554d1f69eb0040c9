"""The page: its parts, and what happens between them. Gradio is imported here alone."""

import os
from pathlib import Path
from typing import NamedTuple

# Read while Gradio is imported; it asks itself whether it answers, which no proxy needs to know.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", NO_PROXY="*", no_proxy="*")

import gradio as gr
from PIL import Image

from pipeline.data import pictures
from pipeline.errors import UserError
from pipeline.explain import explainer
from ui import answer_html, answers, canvas, collect

UPLOAD = "12mb"
HINT = "Draw a digit, upload or take a photo, or pick a test image: the answer appears here."
NONE = "none"
# Plots in a model's folder, and what they show.
PLOTS = {
    "{prefix}_confusion_matrix.png": "### Confusion matrix\nWhich class was predicted as which: a row per true class, "
    "a column per predicted one. A perfect model has everything on the diagonal.",
    "{prefix}_training_curves.png": "### Training curves\nLoss and accuracy, epoch by epoch. Where training goes on "
    "improving and validation does not, the model overfits.",
    "model_comparison.png": "### All models of this folder side by side\nTheir accuracy, size and latency.",
}


class Picture(NamedTuple):
    """A picture that is asked about: its file, what messages call it, and whether it may be kept to train on."""

    path: Path | str
    name: str
    may_be_kept: bool = True


class Page:
    """The page's parts and what happens between them.

    Args:
        output: folder with the models and their plots.
        data_dir: folder with the data sets; None looks at the usual places.
        folder: takes drawings and test images.
        collected: takes the pictures that visitors ask to keep, see ui.collect.
    Raises:
        UserError: there is no model.
    """

    def __init__(self, output: Path, data_dir: str | None, folder: Path, collected: Path):
        self.data_dir, self.folder, self.collected = data_dir, folder, collected
        self.models = answers.models(output)
        digits = [name for name, path in self.models.items() if pictures.are_digits(answers.about(path))]
        self.first = (digits or list(self.models))[0]  # the page opens with drawing
        self.second = digits[1] if len(digits) > 1 else NONE
        with gr.Blocks(title="Which class, and why?", delete_cache=(3600, 3600)) as self.blocks:
            gr.Markdown(
                "# Which class, and why?\nShow a picture to the models trained here. Each says how probable it finds "
                "every class, and which places of the picture are evidence for the most probable one."
            )
            with gr.Tab("Try it"):
                self.build_try()
            with gr.Tab("How good are the models?"):
                self.build_plots()

    def serve(self, host: str, port: int) -> None:
        """Serve the page until Ctrl-C."""
        look = {"css": answer_html.CSS, "theme": gr.themes.Default(primary_hue="blue"), "footer_links": []}
        limits = {"max_file_size": UPLOAD, "share": False, "ssr_mode": False, "run_history": False}
        where = {"server_name": host, "server_port": port}
        self.blocks.launch(**where, **look, **limits, quiet=True, prevent_thread_lock=True)
        print(f"http://{host}:{port} (Ctrl-C ends it)", flush=True)
        self.blocks.block_thread()

    def build_try(self) -> None:
        current = gr.State()  # the Picture
        # In the order of a phone's column; answer_html.CSS puts the answers at the right where there is room.
        with gr.Row(elem_id="try"):
            with gr.Column(elem_id="input", min_width=300):
                with gr.Tab("Draw"):
                    sketch = gr.HTML("", **canvas.PARTS, elem_id="draw")
                with gr.Tab("Photo"):
                    sources, label = ["upload", "webcam"], f"A picture file of at most {UPLOAD.upper()}, or the camera"
                    photo = gr.Image(type="filepath", sources=sources, label=label, height=320, buttons=[])
                    # The path alone: Gradio would open the file, and fail on a broken one.
                    photo.preprocess = lambda upload: upload and upload.path
                with gr.Tab("Test image"):
                    source = gr.Markdown()
                    tests = gr.Gallery(columns=5, allow_preview=False, show_label=False, buttons=[], elem_id="tests")
            with gr.Column(elem_id="answers", min_width=300):
                said = gr.HTML(answer_html.message(HINT), elem_id="message")
                with gr.Row():
                    cards = [self.build_card("answer1", current), self.build_card("answer2", current)]
            with gr.Column(elem_id="options", min_width=300):
                first = gr.Dropdown(list(self.models), value=self.first, label="Model")
                second = gr.Dropdown([NONE, *self.models], value=self.second, label="Second model, side by side")
                methods = [(answer_html.METHODS[method][0], method) for method in explainer.METHODS]
                method = gr.Radio(methods, value=explainer.DEFAULT_METHOD, label="Method of explanation")
                meaning = gr.Markdown(answer_html.METHODS[explainer.DEFAULT_METHOD][1])

        chosen, shown = [first, second, method], [current, said, *cards[0], *cards[1]]
        answering = {"show_progress": "minimal", "trigger_mode": "always_last", "api_visibility": "undocumented"}
        sketch.input(self.drawn, [sketch, *chosen], shown, api_name="draw", **answering)
        photo.change(self.uploaded, [photo, *chosen], shown, api_name="photo", **answering)
        tests.select(self.picked, chosen, shown, **answering)
        gr.on([part.change for part in chosen], self.answer, [current, *chosen], shown, **answering)
        method.change(lambda method: answer_html.METHODS[method][1], method, meaning, api_visibility="private")
        gr.on([self.blocks.load, first.change], self.test_images, first, [source, tests], api_visibility="private")

    def build_card(self, name: str, current: gr.State) -> list:
        answer = gr.State()
        with gr.Column(min_width=260, visible=False, elem_id=name) as column:
            heading = gr.HTML()
            bars = gr.Label(num_top_classes=5, show_heading=False, label="The five most probable classes")
            explanation = gr.HTML()
            with gr.Row(elem_classes="keep") as keeping:
                right = gr.Button("Right: keep it", size="sm", min_width=120)
                truth = gr.Dropdown([], label="Wrong, it was …", min_width=120)
                wrong = gr.Button("Keep it as that", size="sm", min_width=120)
            kept = gr.HTML()
        quietly = {"show_progress": "hidden", "api_visibility": "undocumented"}
        right.click(self.keep, [current, answer], kept, api_name=f"right_{name}", **quietly)
        wrong.click(self.keep, [current, answer, truth], kept, api_name=f"wrong_{name}", **quietly)
        return [column, heading, bars, explanation, answer, keeping, truth, kept]

    def keep(self, current: Picture | None, answer: answers.Answer | None, *truth: str | None) -> str:
        """Keep the picture as the class that was answered, or as its true one; says what came of it."""
        if not current or not answer or not current.may_be_kept:
            return answer_html.message("There is no picture to keep.", alert=True)
        (class_name,) = truth or answer.top(1)
        if class_name is None:
            return answer_html.message("Choose what it was first.", alert=True)
        try:
            kept = collect.keep(answer, current.path, class_name, self.collected)
        except UserError as error:
            return answer_html.message(str(error), alert=True)
        where = f"{kept.seen.parent.parent.name}/{kept.seen.parent.name}/"
        return answer_html.message(f"Kept as {class_name}. Pictures in {where} by now: {kept.count:,}.")

    def drawn(self, sketch: str, *chosen) -> list:
        try:
            picture = canvas.save(sketch, self.folder)
        except UserError as error:
            return self.answer(None, *chosen, problem=str(error))
        return self.answer(picture and Picture(picture, "the drawing"), *chosen)

    def uploaded(self, picture: str | None, *chosen) -> list:
        return self.answer(picture and Picture(picture, Path(picture).name), *chosen)

    def picked(self, event: gr.SelectData, *chosen) -> list:
        path, class_name = self.examples(chosen[0])[1][event.index]
        # Not to be kept: a model that has trained on a test image is no longer tested by it.
        return self.answer(Picture(path, f"the test image of {class_name}", may_be_kept=False), *chosen)

    def answer(self, current: Picture | None, first: str, second: str, method: str, problem: str = "") -> list:
        """The picture as it was, a message where there is something to say, and the parts of both cards."""
        parts = []
        for model in (first, second):
            answer, card, names = None, ["", None, ""], ()
            if current and model != NONE:
                try:
                    answer = answers.answer(self.models[model], current.path, current.name, method)
                    card = [answer_html.heading(answer), answer.top(), answer_html.explanation(answer, method)]
                    names = answer.class_names
                except UserError as error:
                    problem = str(error)
            keeping = gr.update(visible=bool(answer) and current.may_be_kept)
            truth = gr.update(choices=list(names), value=None)
            parts += [gr.update(visible=bool(answer)), *card, answer, keeping, truth, ""]
        said = answer_html.message(problem or HINT, alert=bool(problem))
        return [current, gr.update(value=said, visible=bool(problem) or not current), *parts]

    def examples(self, model: str) -> tuple[str, list]:
        dataset = str(answers.about(self.models[model]).get("dataset"))
        return answers.examples(dataset, self.data_dir, self.folder)

    def test_images(self, model: str) -> tuple[str, list]:
        try:
            title, images = self.examples(model)
        except UserError as error:
            return str(error), []
        if not images:
            return f"No test images: {title} is not on this computer. `--data-dir` says where it is.", []
        return f"The first test image of each class; no model was trained on them. Data: {title}.", images

    def build_plots(self) -> None:
        model = gr.Dropdown(list(self.models), value=self.first, label="Model")
        parts = []
        for text in PLOTS.values():
            parts.append(gr.Markdown(text))
            parts.append(gr.Image(format="png", show_label=False, buttons=["fullscreen"], interactive=False))
        gr.on([self.blocks.load, model.change], self.plots, model, parts, api_visibility="private")

    def plots(self, model: str) -> list:
        path, updates = self.models[model], []
        for name, text in PLOTS.items():
            plot = path.parent / name.format(prefix=answers.about(path).get("prefix"))
            there = plot.is_file()
            updates.append(text if there else "This plot is not in the model's folder.")
            updates.append(gr.update(value=Image.open(plot) if there else None, visible=there))
        return updates
