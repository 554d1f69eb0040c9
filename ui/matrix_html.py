"""The confusion matrix as a table of buttons, and the test images of one of its cells, in HTML."""

import html

import numpy as np

from ui import answer_html, texts
from ui.confusions import Confusions

MANY = 10  # classes above which the columns' names are written upright
MOST = 12  # images of a cell that are shown
RIGHT, WRONG = "0, 114, 178", "213, 94, 0"  # blue and vermilion of the plots, red, green, blue
# The cell is "true class,predicted class".
SCRIPT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-cell]');
  if (button) trigger('click', { cell: button.dataset.cell });
});
"""


def table(confusions: Confusions, language: str) -> str:
    """Confusion matrix: a row per true class, a column per predicted one, a button where there are images."""
    names = [html.escape(texts.term(name, language)) for name in confusions.class_names]
    errors = confusions.matrix.copy()
    np.fill_diagonal(errors, 0)
    most_right, most_wrong = max(1, confusions.matrix.max()), max(1, errors.max())
    rows = []
    for truth, counts in enumerate(confusions.matrix):
        cells = []
        for predicted, count in enumerate(counts):
            right = truth == predicted
            color, strength = (RIGHT, count / most_right) if right else (WRONG, count / most_wrong)
            if not count:
                cells.append("<td></td>")
                continue
            values = {"count": count, "truth": names[truth], "predicted": names[predicted]}
            cells.append(
                f'<td style="background: rgba({color}, {0.15 + 0.5 * strength:.2f})">'
                f'<button type="button" data-cell="{truth},{predicted}" '
                f'title="{texts.say("matrix_cell", language, **values)}">{count}</button></td>'
            )
        rows.append(f'<tr><th scope="row">{names[truth]}</th>{"".join(cells)}</tr>')
    columns = "".join(f'<th scope="col">{name}</th>' for name in names)
    head = f"<thead><tr><th>{texts.say('matrix_corner', language)}</th>{columns}</tr></thead>"
    kind = "matrix many" if len(names) > MANY else "matrix"
    return f'<div class="{kind}"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def cell(confusions: Confusions, truth: int, predicted: int, heat: np.ndarray | None, language: str) -> str:
    """Test images of a cell, the first MOST of them, each beside its heat map.

    Args:
        heat: (n, h, w) heat maps of Confusions.cell()'s first images; None where there are none.
    """
    found = confusions.cell(truth, predicted)
    names = [texts.term(confusions.class_names[k], language) for k in (truth, predicted)]
    count = texts.number(len(found), language)
    title = texts.say("cell_title", language, truth=names[0], predicted=names[1], count=count)
    notes = [texts.say("cell_right_order" if truth == predicted else "cell_wrong_order", language)]
    if len(found) > MOST:
        notes.append(texts.say("cell_part", language, shown=MOST))
    figures = []
    for place, index in enumerate(found[:MOST]):
        probability = texts.percent(confusions.probabilities[index, predicted], language)
        number = texts.number(index, language)
        caption = texts.say("cell_caption", language, number=number, probability=probability, name=names[1])
        pictures = [answer_html.image(confusions.images[index], texts.say("seen_alt", language))]
        if heat is not None:
            alt = texts.say("why_alt", language, name=names[1])
            pictures.append(answer_html.image(answer_html.overlay(confusions.images[index], heat[place]), alt))
        pair = f'<div class="pair">{"".join(pictures)}</div>'
        figures.append(f"<figure>{pair}<figcaption>{html.escape(caption)}</figcaption></figure>")
    return (
        f'<div class="card"><h3>{html.escape(title)}</h3><p>{" ".join(notes)}</p>'
        f'<div class="figures">{"".join(figures)}</div></div>'
    )
