"""An answer in HTML: what the model sees, how sure it is, and the evidence for its class."""

import base64
import html
import io

import matplotlib
import numpy as np
from PIL import Image

from pipeline.explain import explainer
from ui import texts
from ui.answers import Answer

COLORS = matplotlib.colormaps["inferno"]  # as in the plots of gradcam.py
OPACITY = 0.7  # of the heat map's maximum on the picture
SMALLEST_BAR = 0.001  # probability below which a class gets no bar
MOST_NAMED = 3  # classes that a verdict names


def message(text: str, alert: bool = False) -> str:
    """Message box: a hint, or what went wrong; screen readers read the latter out."""
    kind = 'class="message alert" role="alert"' if alert else 'class="message" role="status"'
    return f"<p {kind}>{html.escape(text)}</p>"


def overlay(seen: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat map (h, w) in [0, 1] over its picture (h, w, c) uint8, (h, w, 3) uint8."""
    picture = np.broadcast_to(seen, (*seen.shape[:2], 3)) / 255
    alpha = OPACITY * heat[..., None]
    return (255 * (picture * (1 - alpha) + COLORS(heat)[..., :3] * alpha)).round().astype(np.uint8)


def verdict(answer: Answer, language: str) -> str:
    """The answer in words: the class, or the few that it may be where none of them is sure."""
    names = [texts.term(name, language) for name in answer.likely()]
    if len(names) == 1:
        return names[0]
    if len(names) == 2:
        return texts.say("two", language, first=names[0], second=names[1])
    if len(names) <= MOST_NAMED:
        return texts.say("three", language, first=names[0], second=names[1], third=names[2])
    return texts.say("unsure", language, first=names[0])


def glance(answer: Answer, language: str) -> str:
    """The picture as the model takes it, and the verdict, for beside a drawing that is being made."""
    caption = texts.say("glance", language, answer=answer.number or verdict(answer, language))
    return _figure(answer.seen, texts.say("seen_alt", language), caption)


def card(answer: Answer, model: str, method: str | None, language: str, about: dict[str, str] | None = None) -> str:
    """An answer's card: the model's name, the verdict, the most probable classes, and the evidence.

    Args:
        model: its name for people.
        method: of the heat map; None for an answer without.
        about: what the details say, name -> text; None leaves them out.
    """
    parts = [f'<p class="model">{_breakable(model)}</p>', _headline(answer, language), _bars(answer, language)]
    parts.append(_evidence(answer, method, language))
    if about:
        rows = [f"<dt>{html.escape(name)}</dt><dd>{_breakable(text)}</dd>" for name, text in about.items()]
        parts.append(f"<details><summary>{texts.say('details', language)}</summary><dl>{''.join(rows)}</dl></details>")
    return f'<div class="card">{"".join(parts)}</div>'


def _headline(answer: Answer, language: str) -> str:
    said = verdict(answer, language)
    size = "short" if len(said) <= 3 else "long"
    line = f'<p class="verdict {size}">{html.escape(said)}</p>'
    if answer.number:
        largest = texts.say("number", language)
        line = f'<p class="verdict short">{html.escape(answer.number)}</p><p>{largest}</p>{line}'
    if answer.foreign:
        unlike = texts.say("foreign_digit" if answer.digit else "foreign", language)
        line += f'<p class="foreign">{unlike}</p>'
    return line


def _bars(answer: Answer, language: str) -> str:
    """A bar for each of the five most probable classes, without those that are as good as impossible."""
    rows = []
    for name, probability in answer.top().items():
        if probability < SMALLEST_BAR:
            limit = texts.percent(SMALLEST_BAR, language)
            rows.append(f'<li class="rest">{html.escape(texts.say("rest", language, limit=limit))}</li>')
            break
        rows.append(
            f'<li data-class="{html.escape(name)}" data-probability="{probability:.7f}">'
            f"<span>{html.escape(texts.term(name, language))}</span>"
            f'<span class="bar"><i style="width: {probability:.1%}"></i></span>'
            f"<span>{html.escape(texts.percent(probability, language))}</span></li>"
        )
    return f'<ul class="bars" aria-label="{texts.say("probabilities", language)}">{"".join(rows)}</ul>'


def _evidence(answer: Answer, method: str | None, language: str) -> str:
    """What the model sees and the heat map over it, each with a sentence."""
    figures, note = [], ""
    if answer.found is not None:
        figures.append(_figure(answer.found, texts.say("found_alt", language), texts.say("found", language)))
    height, width = answer.seen.shape[:2]
    seen = texts.say("seen", language, height=height, width=width)
    if answer.digit:
        seen += texts.say("as_mnist", language)
    if answer.inverted:
        seen += texts.say("was_dark", language)
    figures.append(_figure(answer.seen, texts.say("seen_alt", language), seen))
    if method and answer.heat is None:
        note = texts.say("no_map", language)
    elif method:
        name = texts.term(next(iter(answer.top(1))), language)
        if answer.heat.any():
            figure, note = _heat_map(answer, name, method, language)
            figures.append(figure)
        else:
            note = html.escape(texts.say("no_evidence", language, method=explainer.NAMES[method], name=name))
    return f'<div class="figures">{"".join(figures)}</div><p class="note">{note}</p>'


def _heat_map(answer: Answer, name: str, method: str, language: str) -> tuple[str, str]:
    """The heat map's figure, and what its colors stand for."""
    # Eigen-CAM knows of no class, so its map is no evidence for one.
    caption, meaning = ("reaction", "reaction") if method == "eigen-cam" else ("why", "evidence")
    alt = texts.say(f"{caption}_alt", language, name=name)
    text = texts.say(caption, language, name=name, method=explainer.NAMES[method])
    colors = 255 * COLORS(np.linspace(0, 1, 64))[None, :, :3]
    scale = image(colors, texts.say("legend_alt", language), "legend")
    least, most = (texts.say(f"{end}_{meaning}", language) for end in ("least", "most"))
    return _figure(overlay(answer.seen, answer.heat), alt, text), f"{least} {scale} {most}"


def _breakable(text: str) -> str:
    return html.escape(text).replace("_", "_<wbr>")  # file names are long for a phone


def _figure(pixels: np.ndarray, alt: str, caption: str) -> str:
    return f"<figure>{image(pixels, alt)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def image(pixels: np.ndarray, alt: str, kind: str = "") -> str:
    """An <img> that carries its own pixels (h, w, c) in [0, 255], so that no second request is needed."""
    file = io.BytesIO()
    pixels = np.asarray(pixels, np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    content = base64.b64encode(file.getvalue()).decode()
    return f'<img class="{kind}" alt="{html.escape(alt)}" src="data:image/png;base64,{content}">'
