"""The page answers, in a browser and for many at once, says what is wrong in words, and calls nobody."""

import base64
import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from page_folder import FIRST, FOREIGN, GONE, SECOND, TEXT, WORDS, expected
from PIL import Image

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ui import answers, screenshots

CHOSEN = (FIRST, SECOND, "hires-cam", "en")


@pytest.fixture(scope="module")
def client(page):
    return Client(page[0], verbose=False)


def drawing(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def message(answer) -> str:
    said = answer[0]
    return said["value"] if said["visible"] else ""


def test_twenty_at_once_each_get_their_own_answer(page, folder, pictures, bars):
    with ThreadPoolExecutor(20) as pool:
        people = list(pool.map(lambda _: Client(page[0], verbose=False), pictures))
        asked = [
            who.submit(drawing(path), *CHOSEN, api_name="/draw") for who, path in zip(people, pictures, strict=True)
        ]
        answered = [job.result(timeout=60) for job in asked]
        # Another method for the same picture: the page has to remember whose was which.
        again = [who.submit(SECOND, FIRST, "layer-cam", "en", api_name="/answer") for who in people]
        answered_again = [job.result(timeout=60) for job in again]
    for path, answer, later in zip(pictures, answered, answered_again, strict=True):
        probabilities = expected(folder, path)
        best = [k for k in np.argsort(-probabilities)[:5] if probabilities[k] >= 0.001]
        assert [name for name, _ in bars(answer[1])] == [str(k) for k in best]
        assert [name for name, _ in bars(later[1])] == [WORDS[k] for k in best]
        np.testing.assert_allclose([value for _, value in bars(answer[1])], probabilities[best], atol=1e-5)
        assert "(HiResCAM)" in answer[1] and "(LayerCAM)" in later[1] and not message(answer)


@pytest.mark.parametrize("name", ["text.png", "enormous.png", "bomb.png", "cut.png"])
def test_a_bad_upload_gets_a_message_and_the_server_lives_on(client, bad_pictures, pictures, name, bars):
    answer = client.predict(handle_file(bad_pictures[name]), *CHOSEN, api_name="/photo")
    assert name in message(answer) and 'role="alert"' in message(answer) and not bars(answer[1])
    assert bars(client.predict(handle_file(pictures[0]), *CHOSEN, api_name="/photo")[1])


@pytest.mark.parametrize(
    ("model", "says"),
    [(FOREIGN, "tempting.h5 holds a Lambda"), (TEXT, "text.h5"), (GONE, "vanishing.h5 is no longer there")],
)
def test_a_foreign_or_missing_model_gets_a_message_and_the_other_one_answers(client, pictures, bars, model, says):
    answer = client.predict(drawing(pictures[0]), FIRST, model, "grad-cam", "en", api_name="/draw")
    assert says in message(answer) and bars(answer[1])


@pytest.mark.parametrize("path", ["http://example.invalid/7.png", str(PROJECT / "README.md"), "/etc/hostname"])
def test_nobodys_files_are_fetched_or_read(page, client, pictures, bars, path):
    # By hand: the client would upload the file.
    visit = f"visit{abs(hash(path))}"
    config = json.loads(urllib.request.urlopen(f"{page[0]}/config").read())
    photo = next(one["id"] for one in config["dependencies"] if one["api_name"] == "photo")
    named = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = json.dumps({"data": [named, *CHOSEN], "fn_index": photo, "session_hash": visit}).encode()
    call = urllib.request.Request(f"{page[0]}/gradio_api/queue/join", asked, {"Content-Type": "application/json"})
    with contextlib.suppress(urllib.error.HTTPError):  # refused at once, or when its turn comes
        urllib.request.urlopen(call, timeout=30).close()
        with urllib.request.urlopen(f"{page[0]}/gradio_api/queue/data?session_hash={visit}", timeout=60) as events:
            said = [json.loads(line[6:]) for line in events.read().decode().splitlines() if line.startswith("data: ")]
        (done,) = [one for one in said if one["msg"] == "process_completed"]
        assert not done["success"]
    assert bars(client.predict(drawing(pictures[0]), *CHOSEN, api_name="/draw")[1])


def test_a_file_above_the_limit_is_refused(client, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(13_000_000))
    with pytest.raises(Exception, match=r"413|exceed"):
        client.predict(handle_file(tmp_path / "large.png"), *CHOSEN, api_name="/photo")


def test_in_a_browser_a_7_is_drawn_explained_and_a_bad_photo_named(
    page, browser, pictures, bad_pictures, folder, digits, tmp_path, says
):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(120_000)
    asked, complaints = set(), []
    tab.on("request", lambda request: asked.add(request.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(page[0])
    tab.locator("#message", has_text="Draw a digit").wait_for()
    tab.locator("#draw canvas").wait_for()
    screenshots.draw(tab)
    says(tab, "answer1", "7")
    says(tab, "answer2", "seven")
    tab.get_by_role("radio", name="HiResCAM").click()
    tab.locator("#answer1", has_text="(HiResCAM)").wait_for()
    assert tab.locator("#answer1 figure img").count() == 2
    before = tab.locator("#answer1 figure img").nth(1).get_attribute("src")
    tab.get_by_role("radio", name="Occlusion").click()
    tab.locator("#answer1", has_text="(Occlusion)").wait_for()
    assert tab.locator("#answer1 figure img").nth(1).get_attribute("src") != before

    best = np.argmax(expected(folder, pictures[1]))
    tab.get_by_role("tab", name="Photo").click()
    tab.locator("input[type=file]").first.set_input_files(pictures[1])
    says(tab, "answer1", best)
    tab.get_by_role("button", name="Remove Image").click()
    tab.locator("input[type=file]").first.set_input_files(bad_pictures["text.png"])
    tab.get_by_role("alert").filter(has_text="text.png is not a picture").wait_for()

    Image.fromarray(digits.x_test[np.argmax(digits.y_test == 4)][..., 0]).save(tmp_path / "four.png")
    best = np.argmax(expected(folder, tmp_path / "four.png"))
    tab.get_by_role("tab", name="Test image").click()
    tab.locator("#tests button").nth(4).focus()
    tab.keyboard.press("Enter")
    says(tab, "answer2", WORDS[best])
    tab.get_by_role("tab", name="How good are the models?").click()
    tab.get_by_role("heading", name="Confusion matrix").wait_for()
    tab.get_by_text("This plot is not in the model's folder.").first.wait_for()
    tab.close()
    assert not complaints
    assert all(url.startswith((page[0], "data:", "blob:")) for url in asked), asked


def kept(collected) -> list[str]:
    """Class and name of every picture that the page has kept, as the models saw it."""
    return sorted(path.relative_to(collected).as_posix() for path in collected.glob("*/*.png"))


def test_nothing_is_kept_unasked_nor_under_a_name_that_a_request_makes_up(page, pictures, collected):
    before = kept(collected)
    visitor = Client(page[0], verbose=False)
    assert 'role="alert"' in visitor.predict("en", api_name="/right_answer1"), "there is no picture yet"
    visitor.predict(drawing(pictures[0]), *CHOSEN, api_name="/draw")
    for name in ("../outside", "eleven", str(collected.parent / "elsewhere")):
        said = 'role="alert"'
        with contextlib.suppress(AppError):  # Gradio refuses what is none of the choices, else the page does
            said = visitor.predict("en", name, api_name="/wrong_answer1")
        assert 'role="alert"' in said
    assert kept(collected) == before and {path.name for path in collected.parent.iterdir()} <= {"collected"}


def test_a_kept_picture_is_not_served_to_anybody(page, pictures, collected):
    visitor = Client(page[0], verbose=False)
    visitor.predict(drawing(pictures[0]), *CHOSEN, api_name="/draw")
    assert "Kept as" in visitor.predict("en", api_name="/right_answer1")
    assert kept(collected)
    for file in collected.rglob("*.png"):
        with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
            urllib.request.urlopen(f"{page[0]}/gradio_api/file={file}", timeout=10)


def draw_anew(tab, corners) -> None:
    tab.locator("#draw").get_by_role("button", name="Clear").click()
    tab.locator("#answer1").wait_for(state="hidden")
    screenshots.draw(tab, corners)
    tab.locator("#answer1 .verdict").wait_for()


def test_what_visitors_keep_in_a_browser_is_what_the_model_then_learns_from(
    page, open_tab, digits, folder, collected, tmp_path, says
):
    tab = open_tab()
    before = len(kept(collected))
    draw_anew(tab, screenshots.SEVEN)
    says(tab, "answer1", "7")
    tab.locator("#answer1").get_by_role("button", name="Right: keep it").click()
    tab.locator("#answer1", has_text="Kept as 7").wait_for()
    draw_anew(tab, ((0.25, 0.2), (0.75, 0.2), (0.75, 0.5), (0.3, 0.5), (0.75, 0.5), (0.75, 0.85), (0.25, 0.85)))
    truth = tab.locator("#answer1").get_by_label("Wrong, it was")
    truth.click()
    truth.fill("3")
    truth.press("Enter")
    assert len(kept(collected)) == before + 1, "nothing without a click"
    tab.locator("#answer1").get_by_role("button", name="Keep it as that").click()
    tab.locator("#answer1", has_text="Kept as 3").wait_for()
    assert len(kept(collected)) == before + 2 and any(name.startswith("3/") for name in kept(collected))
    tab.get_by_role("tab", name="Test image").click()
    tab.locator("#tests button").first.click()
    says(tab, "answer1", "0")
    tab.locator("#answer1").get_by_role("button", name="Right: keep it").wait_for(state="hidden")  # it tests models

    visitor = Client(page[0], verbose=False)
    for label in range(10):
        for k in np.flatnonzero(digits.y_train == label)[:8]:
            Image.fromarray(digits.x_train[k].squeeze()).save(tmp_path / f"{k}.png")
            visitor.predict(handle_file(tmp_path / f"{k}.png"), FIRST, "", "hires-cam", "en", api_name="/photo")
            assert f"Kept as {label}" in visitor.predict("en", str(label), api_name="/wrong_answer1")
    flags = ["--start-from", str(folder / "first.h5"), "--output-dir", str(tmp_path / "out")]
    flags += ["--dataset", str(collected), "--validation", "0.2", "--epochs", "2"]
    script = [sys.executable, str(PROJECT / "mnist_classification.py")]
    done = subprocess.run([*script, *flags], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    learned = answers.answer(tmp_path / "out" / "custom_cnn_model.h5", tmp_path / f"{k}.png")
    assert learned.digit and learned.dataset == "collected" and list(learned.top(1)) == ["9"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark(open_tab, scheme):
    tab = open_tab(viewport={"width": 360, "height": 780}, color_scheme=scheme, has_touch=True)
    screenshots.draw(tab)
    tab.locator("#answer2 figure").first.wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    text, ground = (
        tab.locator(where).first.evaluate(f"element => getComputedStyle(element).{what}")
        for where, what in (("#answer1 .model", "color"), ("body", "backgroundColor"))
    )
    brightness = [sum(map(float, color.removeprefix("rgb(").rstrip(")").split(","))) for color in (text, ground)]
    assert (brightness[0] < brightness[1]) == (scheme == "light") and abs(np.diff(brightness)) > 300


def test_the_server_called_no_other_computer(page, client, pictures):
    client.predict(handle_file(pictures[0]), *CHOSEN, api_name="/photo")
    called = set(page[1].read_text().split())
    assert called, "the recorder works: the server calls itself once at its start"
    assert called <= {"127.0.0.1", "localhost", "example.invalid"}  # the last is asked for above, and refused
