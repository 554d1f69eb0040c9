"""A page that asks the saved models about your own picture: which class it is, and why.

    python ui/app.py                                # all models in output/ and output/demo/
    python ui/app.py --port 8000 --output-dir runs  # elsewhere

Serves http://127.0.0.1:7860, to this computer alone unless --host says otherwise, and calls nothing
outside it. Needs requirements-ui.txt. ui/screenshots.py takes the pictures in docs/.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import flag, parse
from pipeline.data import pictures
from pipeline.errors import UserError, exit_code
from pipeline.explain import explainer

# Read while Gradio is imported; it asks itself whether it answers, which no proxy needs to know.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", NO_PROXY="*", no_proxy="*")

try:
    import gradio as gr
except ModuleNotFoundError:
    print("error: the page needs Gradio; pip install -r requirements-ui.txt", file=sys.stderr)
    sys.exit(2)
from PIL import Image

from ui import answers, canvas, cards, network

UPLOAD = "12mb"
HINT = "Draw a digit, upload or take a photo, or pick a test picture: the answer appears here."
NONE = "none"


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    host: str = flag("127.0.0.1", "address to listen on; 0.0.0.0 lets the whole network in")
    port: int = flag(7860, "port to listen on", minimum=1, maximum=65535)
    data_dir: str | None = flag(None, "folder with mnist.npz or cifar-100-binary.tar.gz, for the test pictures")
    output_dir: str = flag("output", "folder with the models and their figures; its demo/ is looked at as well")


class Page:
    """The parts of the page and what happens between them; `folder` takes drawings and test pictures."""

    def __init__(self, config: Config, folder: Path):
        self.config, self.folder = config, folder
        self.models = answers.models(Path(config.output_dir))
        digits = [name for name, path in self.models.items() if answers.about(path).get("dataset") in pictures.DIGITS]
        self.first = (digits or list(self.models))[0]  # the page opens with drawing
        self.second = digits[1] if len(digits) > 1 else NONE
        with gr.Blocks(title="Which class, and why?", delete_cache=(3600, 3600)) as self.blocks:
            gr.Markdown(
                "# Which class, and why?\nShow a picture to the models trained here. Each says how probable it finds "
                "every class, and which places of the picture spoke for the most probable one."
            )
            with gr.Tab("Try it"):
                self.build_try()
            with gr.Tab("How good are the models?"):
                self.build_figures()

    def build_try(self) -> None:
        current = gr.State()  # file of the picture, and what messages call it
        # In the order of a phone's column; cards.CSS puts the answers at the right where there is room.
        with gr.Row(elem_id="try"):
            with gr.Column(elem_id="input", min_width=300):
                with gr.Tab("Draw"):
                    sketch = gr.HTML("", **canvas.PARTS, elem_id="draw")
                with gr.Tab("Photo"):
                    sources, label = ["upload", "webcam"], f"A picture file of at most {UPLOAD.upper()}, or the camera"
                    photo = gr.Image(type="filepath", sources=sources, label=label, height=320, buttons=[])
                    # The path alone: Gradio would open the file, and fail on a broken one.
                    photo.preprocess = lambda upload: upload and upload.path
                with gr.Tab("Test picture"):
                    source = gr.Markdown()
                    tests = gr.Gallery(columns=5, allow_preview=False, show_label=False, buttons=[], elem_id="tests")
            with gr.Column(elem_id="answers", min_width=300):
                said = gr.HTML(cards.message(HINT), elem_id="message")
                with gr.Row():
                    parts = [*self.build_card("answer1"), *self.build_card("answer2")]
            with gr.Column(elem_id="options", min_width=300):
                first = gr.Dropdown(list(self.models), value=self.first, label="Model")
                second = gr.Dropdown([NONE, *self.models], value=self.second, label="Second model, side by side")
                methods = [(cards.METHODS[method][0], method) for method in explainer.METHODS]
                method = gr.Radio(methods, value=explainer.DEFAULT_METHOD, label="How evidence is found")
                meaning = gr.Markdown(cards.METHODS[explainer.DEFAULT_METHOD][1])

        chosen, shown = [first, second, method], [current, said, *parts]
        answering = {"show_progress": "minimal", "trigger_mode": "always_last", "api_visibility": "undocumented"}
        sketch.input(self.drawn, [sketch, *chosen], shown, api_name="draw", **answering)
        photo.change(self.uploaded, [photo, *chosen], shown, api_name="photo", **answering)
        tests.select(self.picked, chosen, shown, **answering)
        gr.on([part.change for part in chosen], self.answer, [current, *chosen], shown, **answering)
        method.change(lambda method: cards.METHODS[method][1], method, meaning, api_visibility="private")
        gr.on([self.blocks.load, first.change], self.test_pictures, first, [source, tests], api_visibility="private")

    def build_card(self, name: str) -> list:
        with gr.Column(min_width=260, visible=False, elem_id=name) as column:
            heading = gr.HTML()
            bars = gr.Label(num_top_classes=5, show_heading=False, label="The five most probable classes")
            return [column, heading, bars, gr.HTML()]

    def drawn(self, sketch: str, *chosen) -> list:
        try:
            picture = canvas.save(sketch, self.folder)
        except UserError as error:
            return self.answer(None, *chosen, problem=str(error))
        return self.answer(picture and (picture, "the drawing"), *chosen)

    def uploaded(self, picture: str | None, *chosen) -> list:
        return self.answer(picture and (picture, Path(picture).name), *chosen)

    def picked(self, event: gr.SelectData, *chosen) -> list:
        path, class_name = self.examples(chosen[0])[1][event.index]
        return self.answer((path, f"the test picture of {class_name}"), *chosen)

    def answer(self, current: tuple | None, first: str, second: str, method: str, problem: str = "") -> list:
        """The picture as it was, a message where there is something to say, and the parts of both cards."""
        parts = []
        for model in (first, second):
            card = ["", None, ""]
            if current and model != NONE:
                try:
                    answer = answers.answer(self.models[model], *current, method)
                    card = [cards.heading(answer), answer.top(), cards.pictures(answer, method)]
                except UserError as error:
                    problem = str(error)
            parts += [gr.update(visible=any(card)), *card]
        said = cards.message(problem or HINT, alert=bool(problem))
        return [current, gr.update(value=said, visible=bool(problem) or not current), *parts]

    def examples(self, model: str) -> tuple[str, list]:
        dataset = str(answers.about(self.models[model]).get("dataset"))
        return answers.examples(dataset, self.config.data_dir, self.folder)

    def test_pictures(self, model: str) -> tuple[str, list]:
        try:
            title, pictures = self.examples(model)
        except UserError as error:
            return str(error), []
        if not pictures:
            return f"No test pictures: {title} is not on this computer. `--data-dir` says where it is.", []
        return f"The first test picture of each class; no model was trained on them. Data: {title}.", pictures

    def build_figures(self) -> None:
        model = gr.Dropdown(list(self.models), value=self.first, label="Model")
        parts = []
        for text in cards.FIGURES.values():
            parts.append(gr.Markdown(text))
            parts.append(gr.Image(format="png", show_label=False, buttons=["fullscreen"], interactive=False))
        gr.on([self.blocks.load, model.change], self.figures, model, parts, api_visibility="private")

    def figures(self, model: str) -> list:
        folder, updates = self.models[model].parent, []
        for name, text in cards.FIGURES.items():
            path = folder / name.format(prefix=answers.about(self.models[model]).get("prefix"))
            there = path.is_file()
            updates.append(text if there else "This picture is not in the model's folder.")
            updates.append(gr.update(value=Image.open(path) if there else None, visible=there))
        return updates


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    config = parse(Config, argv, about=__doc__)
    network.check_free(config.host, config.port)
    network.stay_home(config.host)
    with tempfile.TemporaryDirectory() as folder:
        blocks = Page(config, Path(folder)).blocks
        look = {"css": cards.CSS, "theme": gr.themes.Default(primary_hue="blue"), "footer_links": []}
        limits = {"max_file_size": UPLOAD, "share": False, "ssr_mode": False, "run_history": False}
        where = {"server_name": config.host, "server_port": config.port}
        blocks.launch(**where, **look, **limits, quiet=True, prevent_thread_lock=True)
        print(f"http://{config.host}:{config.port} (Ctrl-C ends it)", flush=True)
        blocks.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
