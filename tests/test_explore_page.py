"""The explorer's page in headless Chromium."""

import contextlib
import json
import shutil
import threading

import pytest
from cases import IMAGE_MODELS, MODELS
from helpers import pixels
from PIL import Image

import flowzoo
from flowzoo.explore import server
from flowzoo.explore.library import Library
from flowzoo.registry.attributes import encoded
from flowzoo.registry.folder import read_model_file, write_model_file
from flowzoo.testing import perturb

selenium = pytest.importorskip("selenium", reason="the page's tests need Selenium: pip install selenium")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver"),
]

FLAGS = """
    headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking
    disable-component-update disable-sync force-prefers-reduced-motion
"""
PATIENCE = 180  # seconds for an answer, compiling included


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Two models: of images with classes and an attribute, and of the plane."""
    folder = tmp_path_factory.mktemp("hub")
    models = {
        "tiny-glow": IMAGE_MODELS["Glow, classes"](),
        "tiny-moons": MODELS["RealNVP"](event_shape=2),
    }
    for name, model in models.items():
        perturb(model)
        flowzoo.save_pretrained(model, folder / name, description="For tests.", licence="Apache-2.0")
    facts = read_model_file(folder / "tiny-glow")
    write_model_file(folder / "tiny-glow", {**facts, "directions": {"Bold": encoded([1.0] * 16)}})
    return folder


@pytest.fixture(scope="module")
def address(hub):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWZOO_HUB", str(hub))
        with server.Server(Library("tiny-glow")) as running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            yield running.address
            running.shutdown()


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a person does with the page in a browser's present tab."""

    def __init__(self, browser):
        self.browser = browser

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def until(self, condition):
        return WebDriverWait(self.browser, PATIENCE, 0.05).until(lambda _: condition())

    def pictures(self, selector=".grid img"):
        """The addresses of the pictures that are shown."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(image => image.src)", selector
        )

    def new(self, old, selector=".grid img"):
        """The pictures once they are there and others than `old`."""

        def found():
            pictures = self.pictures(selector)
            return pictures if pictures and pictures != old else None

        return self.until(found)

    def tab(self, title):
        (button,) = self.all(f"#tab-{title}")
        button.click()

    def status(self):
        (element,) = self.all("#status")
        return element.get_attribute("data-state"), element.text

    def calm(self):
        """Waits until nothing is asked any more."""
        self.until(lambda: self.status()[0] == "done")

    def slide(self, label, keys):
        """Moves a slider by the keyboard."""
        (slider,) = [
            s for s in self.all(".slider") if label in s.text or label in s.get_attribute("textContent")
        ]
        slider.find_element(By.TAG_NAME, "input").send_keys(keys)
        return slider.find_element(By.TAG_NAME, "output").text


def overflow(browser, width):
    """By how many pixels the page is wider than a window of that width."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return max(0, browser.execute_script("return document.documentElement.scrollWidth") - width)


def quiet(browser, address):
    """Holds that the console has nothing to tell, and that nothing was asked of another place."""
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    asked = [url for url in asked if not url.startswith(("data:", "chrome:"))]
    assert address in asked
    assert [url for url in asked if not url.startswith(address)] == []


def test_images_are_drawn_walked_changed_and_measured(browser, address, tmp_path):
    browser.get(address)
    page = Page(browser)
    first = page.new([])
    assert len(first) == 20
    assert browser.title == "tiny-glow · flowzoo explorer"

    assert page.slide("Temperature", Keys.ARROW_LEFT * 4) == "0.80"
    cooler = page.new(first)
    (three,) = [chip for chip in page.all(".chip") if chip.text == "3"]
    three.click()
    page.new(cooler)
    names = [image.get_attribute("alt") for image in page.all(".grid img")]
    assert all(name.endswith("class 3") for name in names)

    (button,) = [cell for cell in page.all("button.cell") if cell.get_attribute("aria-pressed") == "false"][
        :1
    ]
    button.click()
    assert [mark.text for mark in page.all(".mark-of")] == ["B", "A"] or len(page.all(".mark-of")) == 2

    page.tab("Walk")
    strip = page.new([], ".strip img")
    assert len(strip) == 11
    assert page.pictures(".large img") == [strip[5]]
    assert page.slide("From A to B", Keys.HOME) == "0 %"
    assert page.pictures(".large img") == [strip[0]]

    page.tab("Attributes")
    before, after = page.until(lambda: (found := page.pictures(".two img")) and len(found) == 2 and found)
    assert before == after
    page.slide("Bold", Keys.ARROW_RIGHT * 5)
    page.until(lambda: page.pictures(".two img")[-1] != after)

    page.tab("Image")
    page.until(lambda: len(page.pictures(".part img")) == 32)
    page.calm()
    quiet(browser, address)


def test_files_are_put_in_and_damaged_ones_told_of(browser, address, tmp_path):
    good, damaged = tmp_path / "photo.jpg", tmp_path / "damaged.png"
    Image.fromarray(pixels((40, 60, 3), n=1)[0]).save(good)
    Image.fromarray(pixels((40, 60, 3), n=1)[0]).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:200])
    browser.get(address)
    page = Page(browser)
    page.new([])
    page.tab("Image")
    page.until(lambda: len(page.pictures(".part img")) == 32)
    page.calm()
    (file,) = page.all("#file")
    file.send_keys(str(good))
    page.until(lambda: "photo.jpg" in page.all(".stage")[0].text)
    page.calm()
    assert "bits/dim" in page.all(".told")[0].text
    assert len(page.all(".bars > div")) == 10

    shown = page.pictures(".stage img")
    file.send_keys(str(damaged))
    page.until(lambda: page.status()[0] == "error")
    assert page.status()[1].startswith("The image cannot be read")
    assert page.pictures(".stage img") == shown  # a damaged file changes nothing
    page.slide("Distance", Keys.ARROW_RIGHT)
    page.calm()
    quiet(browser, address)


def test_the_plane_is_drawn_walked_and_bent(browser, address):
    browser.get(f"{address}#tiny-moons")
    page = Page(browser)
    page.until(lambda: "x from" in page.all("figcaption")[0].text if page.all("figcaption") else False)
    page.calm()
    painted = "return document.querySelector('canvas').toDataURL()"
    first = browser.execute_script(painted)
    page.all("button.main")[0].click()
    page.until(lambda: browser.execute_script(painted) != first)
    page.all("canvas")[0].click()
    page.until(lambda: "nats" in page.all(".told")[0].text)
    page.tab("Walk")
    page.until(lambda: "50 % of the way" in page.all("figcaption")[0].text)
    page.slide("From A to B", Keys.END)
    assert "100 % of the way" in page.all("figcaption")[0].text
    page.tab("Layers")
    page.until(lambda: page.all(".slider"))
    bent = browser.execute_script(painted)
    assert page.slide("Layers", Keys.HOME) == "latent"
    assert browser.execute_script(painted) != bent
    quiet(browser, address)


def test_two_tabs_work_at_once_and_models_switch(browser, address):
    browser.get(address)
    page, one = Page(browser), browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(f"{address}#tiny-moons")
    two = browser.current_window_handle
    for handle in (one, two, one, two):  # both ask before either has its answer
        browser.switch_to.window(handle)
        with contextlib.suppress(IndexError):
            page.all("button.main")[0].click()
    browser.switch_to.window(one)
    page.new([])
    page.calm()
    browser.switch_to.window(two)
    page.until(lambda: page.all("canvas"))
    page.calm()
    (models,) = page.all("#models")
    models.send_keys("tiny-glow")
    assert len(page.new([])) == 20
    browser.back()
    page.until(lambda: page.all("canvas"))
    page.calm()
    quiet(browser, address)


@pytest.mark.parametrize("model", ["tiny-glow", "tiny-moons"])
def test_every_tab_fits_narrow_windows_and_has_labels(browser, address, model):
    browser.get(f"{address}#{model}")
    page = Page(browser)
    page.until(lambda: page.all("[role=tab]"))
    titles = [tab.text for tab in page.all("[role=tab]")]
    for title in titles:
        page.tab(title)
        page.calm()
        assert {width: overflow(browser, width) for width in (320, 390, 1280)} == dict.fromkeys(
            (320, 390, 1280), 0
        )
        unlabelled = browser.execute_script(
            "return [...document.querySelectorAll('input, select, canvas')]"
            ".filter(e => !e.labels?.length && !e.getAttribute('aria-label')).map(e => e.outerHTML)"
        )
        assert unlabelled == []
    page.all("[role=tab][aria-selected=true]")[0].send_keys(Keys.ARROW_RIGHT)  # round to the first
    assert page.all("[role=tab][aria-selected=true]")[0].text == titles[0]


def test_a_server_that_stopped_is_told_of(browser, hub, monkeypatch):
    monkeypatch.setenv("FLOWZOO_HUB", str(hub))
    with server.Server(Library("tiny-moons")) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        browser.get(running.address)
        page = Page(browser)
        page.until(lambda: page.all("canvas"))
        page.calm()
        running.shutdown()
    page.all("button.main")[0].click()
    page.until(lambda: page.status()[0] == "error")
    assert page.status()[1] == "The server does not answer. Is flowzoo explore still running?"
