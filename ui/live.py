"""Answers to pictures that change many times a second: a drawing under the pen, and the camera's. No Gradio here."""

import uuid
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import UserError
from ui import answer_html, answers, data_uri, texts


def functions(models: dict[str, Path], names: dict[str, dict[str, str]], folder: Path) -> tuple[Callable, Callable]:
    """glance() and look(), which the page's JavaScript calls with a dict and which give HTML.

    A request has the picture (a data URI), the model's title, the language, and for look() the method of the heat map,
    None for an answer without.

    Args:
        models: title -> file.
        names: language -> title -> name for people.
        folder: takes each picture while it is answered.
    """

    def answered(request: dict, what: str, method: str | None) -> answers.Answer:
        title = request.get("model")
        if title not in models:
            raise UserError("there is no such model on this page")
        content, suffix = data_uri.decoded(request.get("picture"))
        path = folder / f"frame-{uuid.uuid4().hex}{suffix}"
        path.write_bytes(content)
        try:
            return answers.answer(models[title], path, texts.say(what, request.get("language")), method)
        finally:
            path.unlink()

    def glance(request: dict) -> str:
        try:
            return answer_html.glance(answered(request, "the_drawing", None), request.get("language"))
        except UserError:  # the first strokes are no digit yet
            return ""

    def look(request: dict) -> str:
        method, language = request.get("method"), request.get("language")
        try:
            answer = answered(request, "the_frame", method)
        except UserError as error:
            return answer_html.message(texts.problem(error, language))
        return answer_html.card(answer, names[language][request["model"]], method, language)

    return glance, look
