"""The tab "Try it": a picture by pen, camera, file or from the test images, and what two models answer."""

from pathlib import Path
from typing import NamedTuple

import gradio as gr

from pipeline.errors import UserError
from pipeline.explain import explainer
from ui import answer_html, answers, camera, canvas, collect, data_uri, examples, live, models, texts
from ui.shared import QUIETLY, Shared

UPLOAD = "12mb"


class Picture(NamedTuple):
    """A picture that is asked about: its file, what messages call it, and whether it may be kept to train on."""

    path: Path | str
    name: str
    may_be_kept: bool = True


class TryTab:
    """The tab's parts and what happens between them."""

    def __init__(self, shared: Shared, blocks: gr.Blocks):
        self.shared = shared
        current = gr.State()  # the Picture
        # In the order of a phone's column; page.css puts the answers at the right where there is room.
        with gr.Row(elem_id="try"):
            with gr.Column(elem_id="input", min_width=300):
                sketch, frame, photo, source, tests = self.build_inputs()
            with gr.Column(elem_id="answers", min_width=300):
                gr.HTML(elem_id="live", html_template='<div class="answer"></div>')
                said = gr.HTML(answer_html.message(texts.say("hint", texts.ENGLISH)), elem_id="message")
                with gr.Row():
                    cards = [self.build_card("answer1", current), self.build_card("answer2", current)]
            with gr.Column(elem_id="options", min_width=300):
                first = shared.model_menu("model", shared.first)
                second = shared.model_menu("second", shared.second, optional=True)
                methods = [(explainer.NAMES[method], method) for method in explainer.METHODS]
                method = shared.make(gr.Radio, {"label": "method"}, choices=methods, value=explainer.DEFAULT_METHOD)
                meaning = gr.Markdown(texts.say(explainer.DEFAULT_METHOD, texts.ENGLISH))

        language = shared.language
        chosen, shown = [first, second, method, language], [current, said, *cards[0], *cards[1]]
        # One after the other: an answer gives back the picture that it was asked about, and the last one must win.
        answering = {"concurrency_id": "answer", "show_progress": "minimal", "trigger_mode": "always_last"}
        answering["api_visibility"] = "undocumented"
        sketch.input(self.drawn, [sketch, *chosen], shown, api_name="draw", **answering)
        frame.input(self.taken, [frame, *chosen], shown, api_name="camera", **answering)
        photo.change(self.uploaded, [photo, *chosen], shown, api_name="photo", **answering)
        tests.select(self.picked, chosen, shown, **answering)
        gr.on([part.change for part in chosen], self.answer, [current, *chosen], shown, **answering)
        gr.on([method.change, language.change], texts.say, [method, language], meaning, **QUIETLY)
        settled = [first.change, method.change, language.change]
        gr.on(settled, self.settle, [first, method, language], [sketch, frame], **QUIETLY)
        named = [blocks.load, first.change, language.change]
        gr.on(named, self.test_images, [first, language], [source, tests], **QUIETLY)

    def build_inputs(self) -> list:
        """The four ways to give a picture, a tab each."""
        make = self.shared.make
        glance, look = live.functions(self.shared.models, self.shared.names, self.shared.folder)
        settings = self.settings(self.shared.first, explainer.DEFAULT_METHOD, texts.ENGLISH)
        with make(gr.Tab, {"label": "tab_draw"}):
            sketch = gr.HTML("", elem_id="draw", settings=settings, server_functions=[glance], **canvas.PARTS)
        with make(gr.Tab, {"label": "tab_camera"}):
            frame = gr.HTML("", elem_id="camera", settings=settings, server_functions=[look], **camera.PARTS)
        with make(gr.Tab, {"label": "tab_photo"}):
            photo = self.shared.add(
                gr.Image,
                lambda language: {"label": texts.say("photo", language, limit=UPLOAD.upper())},
                type="filepath",
                sources=["upload"],
                height=320,
                buttons=[],
            )
            # The path alone: Gradio would open the file, and fail on a broken one.
            photo.preprocess = lambda upload: upload and upload.path
        with make(gr.Tab, {"label": "tab_test"}):
            source = gr.Markdown()
            tests = gr.Gallery(columns=5, allow_preview=False, show_label=False, buttons=[], elem_id="tests")
        return [sketch, frame, photo, source, tests]

    def build_card(self, name: str, current: gr.State) -> list:
        make, answer = self.shared.make, gr.State()
        with gr.Column(min_width=260, visible=False, elem_id=name) as column:
            card = gr.HTML()
            with gr.Row(elem_classes="keep") as keeping:
                right = make(gr.Button, {"value": "right"}, size="sm", min_width=120)
                truth = make(gr.Dropdown, {"label": "truth"}, choices=[], min_width=120)
                wrong = make(gr.Button, {"value": "wrong"}, size="sm", min_width=120)
            kept = gr.HTML()
        quietly = {"show_progress": "hidden", "api_visibility": "undocumented"}
        asked = [current, answer, self.shared.language]
        right.click(self.keep, asked, kept, api_name=f"right_{name}", **quietly)
        wrong.click(self.keep, [*asked, truth], kept, api_name=f"wrong_{name}", **quietly)
        return [column, card, answer, keeping, truth, kept]

    @staticmethod
    def settings(model: str, method: str, language: str) -> dict:
        """What the JavaScript of the canvas and of the camera needs to know."""
        keys = ["canvas", "undo", "clear", "pen_width", "the_frame", "start", "stop", "hold"]
        keys += ["live_maps", "rate", "no_camera", "lost"]
        said = {key: texts.say(key, language) for key in keys}
        return {"model": model, "method": method, "language": language, "texts": said}

    def settle(self, *chosen: str) -> list:
        """Tell the canvas and the camera what is chosen now."""
        return [gr.update(settings=self.settings(*chosen))] * 2

    def keep(self, current: Picture | None, answer: answers.Answer | None, language: str, *truth: str | None) -> str:
        """Keep the picture as the class that was answered, or as its true one; says what came of it."""
        if not current or not answer or not current.may_be_kept:
            return answer_html.message(texts.say("nothing_to_keep", language), alert=True)
        (class_name,) = truth or answer.top(1)
        if class_name is None:
            return answer_html.message(texts.say("choose_truth", language), alert=True)
        try:
            kept = collect.keep(answer, current.path, class_name, self.shared.collected)
        except UserError as error:
            return answer_html.message(texts.problem(error, language), alert=True)
        folder = f"{kept.seen.parent.parent.name}/{kept.seen.parent.name}/"
        count, name = texts.number(kept.count, language), texts.term(class_name, language)
        return answer_html.message(texts.say("kept", language, name=name, folder=folder, count=count))

    def drawn(self, sketch: str, *chosen) -> list:
        return self.sent(sketch, "the_drawing", *chosen)

    def taken(self, frame: str, *chosen) -> list:
        return self.sent(frame, "the_frame", *chosen)

    def sent(self, picture: str, name: str, *chosen) -> list:
        """Answer a picture that the page's JavaScript sent."""
        language = chosen[-1]
        try:
            path = data_uri.save(picture, self.shared.folder)
        except UserError as error:
            return self.answer(None, *chosen, problem=texts.problem(error, language))
        return self.answer(path and Picture(path, texts.say(name, language)), *chosen)

    def uploaded(self, picture: str | None, *chosen) -> list:
        return self.answer(picture and Picture(picture, Path(picture).name), *chosen)

    def picked(self, event: gr.SelectData, *chosen) -> list:
        first, language = chosen[0], chosen[-1]
        path, class_name = self.examples(first)[event.index]
        name = texts.say("the_test_image", language, name=texts.term(class_name, language))
        # Not to be kept: a model that has trained on a test image is no longer tested by it.
        return self.answer(Picture(path, name, may_be_kept=False), *chosen)

    def answer(
        self, current: Picture | None, first: str, second: str, method: str, language: str, problem: str = ""
    ) -> list:
        """The picture as it was, a message where there is something to say, and the parts of both cards."""
        parts = []
        for title in (first, second):
            answer, card, choices = None, "", []
            if current and title:
                try:
                    answer = answers.answer(self.shared.models[title], current.path, current.name, method)
                    card = self.card(answer, title, method, language)
                    choices = [(texts.term(name, language), name) for name in answer.class_names]
                except UserError as error:
                    problem = texts.problem(error, language)
            keeping = gr.update(visible=bool(answer) and current.may_be_kept)
            truth = gr.update(choices=choices, value=None)
            parts += [gr.update(visible=bool(answer)), card, answer, keeping, truth, ""]
        said = answer_html.message(problem or texts.say("hint", language), alert=bool(problem))
        return [current, gr.update(value=said, visible=bool(problem) or not current), *parts]

    def card(self, answer: answers.Answer, title: str, method: str, language: str) -> str:
        """An answer's card, with what there is to know of its model."""
        path = self.shared.models[title]
        about = {"detail_model": answer.title, "detail_file": path.name}
        accuracy = models.accuracy(path)
        if accuracy is not None:
            about["detail_accuracy"] = texts.percent(accuracy, language)
        milliseconds = texts.number(answer.milliseconds, language, 1)
        about["detail_time"] = texts.say("milliseconds", language, number=milliseconds)
        said = {texts.say(key, language): text for key, text in about.items()}
        name = models.names(self.shared.models, language)[title]  # as it is now: a model may have been trained again
        return answer_html.card(answer, name, method, language, said)

    def shown_data(self, model: str) -> str | None:
        """The data set whose images are shown for a model, None where they are not here."""
        return examples.shown(models.about(self.shared.models[model]).get("dataset"), self.shared.data_dir)

    def examples(self, model: str) -> list[tuple[Path, str]]:
        dataset = self.shown_data(model)
        return examples.first_of_each_class(dataset, self.shared.data_dir, self.shared.folder) if dataset else []

    def test_images(self, model: str, language: str) -> tuple[str, list]:
        try:
            images = self.examples(model)
        except UserError as error:
            return texts.problem(error, language), []
        shown = self.shown_data(model) or models.about(self.shared.models[model]).get("dataset")
        dataset = examples.title(shown, language)
        if not images:
            return texts.say("no_tests", language, data=dataset), []
        named = [(path, texts.term(name, language)) for path, name in images]
        return texts.say("tests", language, data=dataset), named
