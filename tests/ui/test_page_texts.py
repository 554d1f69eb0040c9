"""The page in two languages: every text in both, numbers as each writes them, and the browser's language first."""

import string

import pytest

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from pipeline.data import cifar100_labels
from pipeline.errors import UserError
from ui import answers, screenshots, texts


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_everything_with_the_same_values():
    for key, (english, turkish) in texts.TEXTS.items():
        assert english and turkish, key
        assert placeholders(english) == placeholders(turkish), key


def test_every_class_of_cifar_100_has_a_turkish_name_of_its_own():
    names = {texts.term(name, "tr") for name in cifar100_labels.CIFAR100_COARSE}
    assert len(names) == 20 and not names & set(cifar100_labels.CIFAR100_COARSE)
    assert texts.term("seven", "tr") == "seven"


def test_numbers_are_written_as_the_language_writes_them():
    assert texts.percent(0.997, "en") == "99.7\N{NO-BREAK SPACE}%" and texts.percent(0.997, "tr") == "%99,7"
    assert texts.percent(0.99999, "en").startswith("> 99.9") and texts.percent(1, "tr") == "%100,0"
    assert texts.number(12345.6, "en", 1) == "12,345.6" and texts.number(12345.6, "tr", 1) == "12.345,6"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.png", "okunabilen bir resim değil"),
        ("enormous.png", "64 milyon piksel"),
        ("bomb.png", "64 milyon piksel"),
        ("blank.png", "rakam bulunamadı"),
        ("cut.png", "hasarlı"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said_in_turkish(folder, bad_pictures, name, says):
    with pytest.raises(UserError) as problem:
        answers.answer(folder / "first.h5", bad_pictures[name])
    said = texts.problem(problem.value, "tr")
    assert says in said and said.startswith(name)
    assert texts.problem(problem.value, "en") == str(problem.value)


def test_the_page_speaks_the_browsers_language_until_the_other_is_chosen(open_tab, says):
    tab = open_tab(locale="tr-TR")
    tab.get_by_role("tab", name="Nerede yanılıyor?").wait_for()
    tab.get_by_role("button", name="Geri al").wait_for()
    screenshots.draw(tab)
    says(tab, "answer1", "7")
    tab.locator("#answer1", has_text="Ayrıntılar").wait_for()
    assert tab.evaluate("document.documentElement.lang") == "tr"
    tab.get_by_label("English").check()
    tab.get_by_role("tab", name="Where is it wrong?").wait_for()
    tab.get_by_role("button", name="Undo").wait_for()
    tab.locator("#answer1", has_text="Details").wait_for()
    says(tab, "answer1", "7")
    tab.wait_for_function("document.documentElement.lang === 'en'")


def test_a_browser_in_any_other_language_gets_english(open_tab):
    tab = open_tab(locale="de-DE")
    tab.get_by_role("button", name="Undo").wait_for()
    assert tab.get_by_role("radio", name="English").is_checked()
