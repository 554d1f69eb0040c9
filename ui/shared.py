"""What the page's tabs share: the models, where data lie, and components whose texts follow the language."""

from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from pipeline.data import pictures
from ui import models, texts

# Always the last: else Gradio drops an event that comes while the one before is at work.
QUIETLY = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}


@dataclass
class Shared:
    """One page's.

    models: title -> file.
    data_dir: folder with the data sets; None looks at the usual places.
    folder: takes drawings, the camera's pictures and test images.
    collected: takes the pictures that visitors ask to keep, see ui.collect.
    """

    models: dict[str, Path]
    data_dir: str | None
    folder: Path
    collected: Path
    language: gr.Radio | None = None  # its value is "en" or "tr"
    _translated: list = field(default_factory=list)  # component, its properties that are texts, how to make them

    def __post_init__(self):
        self.names = {code: models.names(self.models, code) for code in texts.LANGUAGES.values()}
        digits = [title for title, path in self.models.items() if pictures.are_digits(models.about(path))]
        self.first = (digits or list(self.models))[0]  # the page opens with drawing
        self.second = digits[1] if len(digits) > 1 else None

    def make(self, kind, keys: dict[str, str], **options):
        """A component with texts: property -> key of ui.texts."""

        def properties(language: str) -> dict[str, str]:
            return {name: texts.say(key, language) for name, key in keys.items()}

        return self.add(kind, properties, **options)

    def add(self, kind, properties, **options):
        """A component with properties that the language changes: properties(language) gives name -> value."""
        component = kind(**properties(texts.ENGLISH), **options)
        self._translated.append((component, properties))
        return component

    def model_menu(self, label: str, value: str | None, optional: bool = False) -> gr.Dropdown:
        """A menu of the models by their names for people; its value is a title, "" for none where that is a choice."""

        def properties(language: str) -> dict:
            none = [(texts.say("none", language), "")] if optional else []
            choices = [(name, title) for title, name in self.names[language].items()]
            return {"label": texts.say(label, language), "choices": none + choices}

        return self.add(gr.Dropdown, properties, value=value or "")

    def translate(self) -> None:
        """Let all components made so far follow the language."""
        components = [component for component, _ in self._translated]
        made = [properties for _, properties in self._translated]
        self.language.change(
            lambda language: [gr.update(**properties(language)) for properties in made],
            self.language,
            components,
            **QUIETLY,
        )
