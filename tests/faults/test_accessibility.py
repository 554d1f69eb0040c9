"""The page by axe-core's rules, in light and dark, on three sizes of screen; and no request leaves the machine."""

import pytest

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason='optional: pip install -e ".[dev]"')
from pipeline.data import datasets  # noqa: E402, after what may be missing
from pipeline.models import probabilities, saved_model  # noqa: E402
from ui import screenshots  # noqa: E402

pytestmark = pytest.mark.long
SIZES = {
    "phone": {"width": 360, "height": 780},
    "tablet": {"width": 820, "height": 1180},
    "desk": {"width": 1280, "height": 900},
}


def findings(tab) -> list[str]:
    """What axe-core calls serious or critical: rule, where, and why."""
    found = []
    for rule in axe.Axe().run(tab).response["violations"]:
        if rule["impact"] in ("serious", "critical"):
            for node in rule["nodes"]:
                found.append(f"{rule['id']}: {node['target']}: {node['failureSummary']}: {node['html'][:200]}")
    return found


def test_a_test_image_is_answered_by_keyboard_alone(open_tab, tried):
    tab = open_tab()
    for target in (tab.get_by_role("tab", name="Test image"), tab.locator("#tests button").nth(4)):
        for _ in range(80):
            if target.evaluate("one => one === document.activeElement"):
                break
            tab.keyboard.press("Tab")
        else:
            raise AssertionError(target)
        tab.keyboard.press("Enter")
    tab.locator("#answer1 .verdict").wait_for()
    tried("a test image answered by keyboard alone", times=1, answered=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_tab_has_a_serious_finding_and_the_browser_asks_nobody_else(page, folder, open_tab, size, scheme, tried):
    probabilities.on_test_images(saved_model.open_model(folder / "first.h5"), datasets.load("digits"))  # of the matrix
    tab = open_tab(viewport=SIZES[size], color_scheme=scheme)
    asked = set()
    tab.on("request", lambda request: asked.add(request.url))
    tab.reload()
    tab.locator("#draw canvas[data-ready]").wait_for()
    found = {"before a drawing": findings(tab)}
    screenshots.draw(tab)
    tab.locator("#answer2 figure").first.wait_for()
    found["with an answer"] = findings(tab)
    for name in ("Camera", "Photo", "Test image"):
        tab.get_by_role("tab", name=name).click()
        found[name] = findings(tab)
    tab.get_by_role("tab", name="Where is it wrong?").click()
    tab.locator("#matrix td button").first.wait_for()
    found["confusion matrix"] = findings(tab)
    if size == "phone":  # where there is no room for a third one
        tab.get_by_role("button", name="More tabs").click()
        tab.get_by_role("button", name="How good are the models?").click()
    else:
        tab.get_by_role("tab", name="How good are the models?").click()
    tab.get_by_role("heading", name="Confusion matrix").wait_for()
    found["plots"] = findings(tab)
    assert len(asked) > 10 and all(url.startswith((page[0], "data:", "blob:")) for url in asked), asked
    assert not any(found.values()), "\n".join(line for lines in found.values() for line in lines)
    tried("axe-core's rules on a view of the page", times=len(found), serious_findings=0)
