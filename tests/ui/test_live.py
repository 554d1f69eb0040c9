"""In a browser, the page answers as the visitor moves: the camera streams, the pen is followed, strokes are undone."""

import numpy as np
import pytest

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from ui import screenshots

# Counts what is asked about the camera's pictures, and answers as late as a slow machine would.
SLOW = """
window.asked = {all: 0, now: 0, most: 0};
const direct = window.fetch;
window.fetch = async (address, options) => {
  if (!String(address).includes('component_server')) return direct(address, options);
  asked.all += 1;
  asked.now += 1;
  asked.most = Math.max(asked.most, asked.now);
  await new Promise((done) => setTimeout(done, 250));
  try { return await direct(address, options); } finally { asked.now -= 1; }
};
"""
# Notes the brightness of the shown picture's paper, and the class that is answered, whenever the answer changes.
WATCH = """
window.seen = [];
const shown = document.querySelector('#camera canvas');
new MutationObserver(() => {
  const [paper] = shown.getContext('2d').getImageData(5, 5, 1, 1).data;
  seen.push([paper > 190, document.querySelector('#live .bars li')?.dataset.class]);
}).observe(document.querySelector('#live .answer'), {childList: true});
"""
ANSWERED = "Number(document.querySelector('#camera canvas').dataset.answered || 0)"


def start_camera(tab) -> None:
    tab.get_by_role("tab", name="Camera").click()
    tab.get_by_role("button", name="Start the camera").click()


def test_the_picture_of_the_camera_that_is_shown_is_the_one_that_was_answered(open_tab):
    tab = open_tab()
    tab.get_by_role("tab", name="Camera").click()
    tab.evaluate(WATCH)
    tab.get_by_role("button", name="Start the camera").click()
    tab.wait_for_function("new Set(seen.map(([light]) => light)).size === 2 && seen.length >= 15")
    pairs = {tuple(pair) for pair in tab.evaluate("seen")}
    assert len(pairs) == 2 and len({name for _, name in pairs}) == 2 and None not in {name for _, name in pairs}


def test_a_slow_machine_drops_pictures_of_the_camera_instead_of_falling_behind(open_tab):
    tab = open_tab(SLOW)
    start_camera(tab)
    tab.wait_for_function(f"{ANSWERED} >= 6")
    asked, answered = tab.evaluate(f"[asked, {ANSWERED}]")
    assert asked["most"] == 1 and asked["all"] - answered in (0, 1)


def test_the_camera_shows_heat_maps_on_request_and_stops_with_its_tab(open_tab):
    tab = open_tab(
        "navigator.mediaDevices.getUserMedia = ((ask) => async (what) => window.stream = await ask(what))"
        "(navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices));"
    )
    start_camera(tab)
    tab.locator("#live figure").wait_for()
    assert tab.locator("#live figure").count() == 1 and tab.locator("#message").is_hidden()
    tab.get_by_role("radio", name="HiResCAM").click()  # Grad-CAM may find no evidence in so small a model
    tab.get_by_label("With heat maps").check()
    tab.locator("#live figure").nth(1).wait_for()
    tab.get_by_role("tab", name="Draw").click()
    tab.locator("#live").wait_for(state="hidden")
    assert tab.evaluate("stream.getTracks().map((track) => track.readyState)") == ["ended"]


def test_a_picture_of_the_camera_is_taken_answered_by_both_models_and_may_be_kept(open_tab):
    tab = open_tab()
    start_camera(tab)
    tab.locator("#live .bars li").first.wait_for()
    tab.get_by_role("button", name="Take this picture").click()
    tab.locator("#answer1 .verdict").wait_for()
    tab.locator("#answer2 .verdict").wait_for()
    assert tab.locator("#live").is_hidden()
    tab.locator("#answer1").get_by_role("button", name="Right: keep it").wait_for()


def test_without_a_camera_the_page_says_what_it_takes(open_tab):
    tab = open_tab("navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error());")
    start_camera(tab)
    tab.locator("#camera .state", has_text="permission").wait_for()
    tab.get_by_role("button", name="Start the camera").wait_for()


def pixels(tab) -> np.ndarray:
    """Brightness of the drawing."""
    read = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    return np.array(tab.locator("#draw canvas").evaluate(read)).reshape(280, 280, 4)[..., 0]


def test_a_stroke_is_undone_and_what_is_left_is_answered_again(open_tab, says):
    tab = open_tab()
    undo = tab.get_by_role("button", name="Undo")
    assert undo.is_disabled()
    screenshots.draw(tab)
    says(tab, "answer1", "7")
    drawn, first = pixels(tab), tab.locator("#answer1 .figures img").first.get_attribute("src")
    screenshots.draw(tab, ((0.2, 0.9), (0.8, 0.9)))
    tab.wait_for_function("(before) => document.querySelector('#answer1 .figures img').src !== before", arg=first)
    undo.click()
    tab.wait_for_function("(before) => document.querySelector('#answer1 .figures img').src === before", arg=first)
    assert np.array_equal(pixels(tab), drawn)
    undo.click()
    tab.locator("#answer1").wait_for(state="hidden")
    assert (pixels(tab) == 255).all() and undo.is_disabled()
    assert not tab.locator("#draw .glance img").count()


def test_the_pen_is_as_wide_as_it_is_set(open_tab):
    tab = open_tab()
    ink = []
    for width in ("10", "40"):
        tab.get_by_label("Pen width").fill(width)
        screenshots.draw(tab, ((0.2, 0.5), (0.8, 0.5)))
        ink.append((pixels(tab) < 128).sum())
        tab.get_by_role("button", name="Clear").click()
    assert 3 * ink[0] < ink[1]


def test_what_the_model_sees_is_shown_before_the_pen_is_lifted(open_tab):
    tab = open_tab()
    first, *others, crossed = screenshots.on_canvas(tab, (*screenshots.SEVEN, (0.8, 0.55)))
    tab.mouse.move(*first)
    tab.mouse.down()
    for corner in others:
        tab.mouse.move(*corner, steps=8)
    picture = tab.locator("#draw .glance img")
    picture.wait_for()
    seven = picture.get_attribute("src")
    tab.mouse.move(*crossed, steps=8)
    changed = "(before) => ![before, undefined].includes(document.querySelector('#draw .glance img')?.src)"
    tab.wait_for_function(changed, arg=seven)
    assert tab.locator("#answer1").is_hidden(), "the pen is still down"
    tab.mouse.up()
    tab.locator("#answer1 .verdict").wait_for()


def test_a_finger_draws_and_a_second_one_beside_it_does_not(open_tab):
    tab = open_tab(has_touch=True)
    touch = tab.context.new_cdp_session(tab)
    start, end, palm, palm_end = screenshots.on_canvas(tab, ((0.3, 0.2), (0.3, 0.8), (0.8, 0.3), (0.8, 0.9)))

    def send(kind, *points):
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", start)
    send("touchStart", start, palm)
    send("touchMove", end, palm_end)
    send("touchEnd")
    tab.locator("#answer1 .verdict").wait_for()
    drawn = pixels(tab) < 128
    assert drawn[100:200, 60:110].any() and not drawn[:, 180:].any()
