"""Looks at a built site in headless Chromium, as wide as a desktop and as a phone.

python .ci/look.py OUT [--screenshots FOLDER] [PAGE ...]

By default all pages but most of the reference, which are alike. No page may log an error, fail to load
something or ask any other host; pictures must be drawn, and nothing may be wider than the screen. A
search must find something, and the table of results must sort. It needs Debian's chromium and
chromium-driver, and selenium; where there is no Chromium, it says so and does nothing.
"""

import argparse
import functools
import http.server
import json
import pathlib
import shutil
import sys
import tempfile
import threading
import urllib.parse

WIDTHS = {"desktop": 1280, "phone": 390}
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
)
OF_THE_REFERENCE = ("index", "flowzoo", "flowzoo.Flow", "flowzoo.Glow", "flowzoo.layers")
STATE = """
const wide = [...document.querySelectorAll("article *")].filter((one) => {
  const box = one.getBoundingClientRect();
  if (box.right <= innerWidth + 1 || box.width === 0) return false;
  for (let up = one.parentElement; up && up.tagName !== "ARTICLE"; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== "visible") return false;
  return true;
});
return {
  overflow: document.documentElement.scrollWidth - innerWidth,
  wide: wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 120)),
  broken: [...document.images].filter((one) => !one.complete || one.naturalWidth === 0).map((one) => one.src),
};
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def serve(folder):
    """A server of the folder on this machine alone, in a thread."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def browser(profile):
    """Chromium with a fresh profile, which logs what it loads."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(60)
    driver.get("about:blank")
    driver.get_log("performance")  # what Chromium itself asks for when it starts
    return driver


def resize(driver, width):
    size = {
        "width": width,
        "height": 844 if width < 500 else 900,
        "deviceScaleFactor": 1,
        "mobile": width < 500,
    }
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def requests(driver, host):
    """What was asked of others, and what failed, of all pages since the last call."""
    for entry in driver.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        method, facts = event["method"], event["params"]
        if method == "Network.requestWillBeSent":
            parts = urllib.parse.urlsplit(facts["request"]["url"])
            if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != host:
                yield f"asks {parts.netloc} for {parts.path}"
        elif method == "Network.responseReceived" and facts["response"]["status"] >= 400:
            yield f"got {facts['response']['status']} for {facts['response']['url']}"
        elif method == "Network.loadingFailed" and not facts.get("canceled"):
            yield f"failed to load something: {facts['errorText']}"


def look(driver, address, host, screenshots=None):
    """What is wrong with a page, a line each."""
    resize(driver, WIDTHS["desktop"])
    driver.get(address)
    for screen, width in WIDTHS.items():
        resize(driver, width)
        state = driver.execute_script(STATE)
        if state["overflow"] > 0:
            yield f"is {state['overflow']} pixels wider than a {screen}"
        yield from (f"has on a {screen} too wide a {element}" for element in state["wide"])
        yield from (f"does not draw {picture}" for picture in state["broken"])
        if screenshots:
            name = urllib.parse.urlsplit(address).path.strip("/").replace("/", "-").removesuffix(".html")
            driver.save_screenshot(str(screenshots / f"{name}-{screen}.png"))
    yield from requests(driver, host)
    yield from (
        f"logs {entry['message']}" for entry in driver.get_log("browser") if entry["level"] == "SEVERE"
    )


def use(driver, address):
    """Searches and sorts, as a reader would."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    resize(driver, WIDTHS["desktop"])
    driver.get(f"{address}/search.html?q=temperature")
    try:
        WebDriverWait(driver, 20).until(
            lambda _: driver.find_elements(By.CSS_SELECTOR, "#search-results li a")
        )
    except Exception:
        yield "the search for 'temperature' finds nothing"
    driver.get(f"{address}/gallery/index.html")
    [head] = driver.find_elements(
        By.XPATH, "//table[contains(@class, 'sortable')]//button[text()='bits/dim']"
    )
    for click in ("up", "down"):
        driver.execute_script("arguments[0].click()", head)
        column = (
            "return [...document.querySelectorAll('.sortable td:nth-child(6)')].map((one) => one.dataset.key)"
        )
        shown = [float(key) for key in driver.execute_script(column) if key]
        if len(shown) < 2 or shown != sorted(shown, reverse=click == "down"):
            yield f"the results do not sort {click}: {shown}"


def pages(folder):
    for path in sorted(folder.rglob("*.html")):
        place = path.relative_to(folder)
        if place.parts[0] == "_modules" or path.name in ("search.html", "genindex.html", "py-modindex.html"):
            continue
        if place.parts[0] != "reference" or path.stem in OF_THE_REFERENCE:
            yield str(place)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("pages", nargs="*")
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for pictures of the pages")
    options = parser.parse_intermixed_args()
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print("Not looked at: no chromium and chromedriver here (apt-get install chromium chromium-driver).")
        return False
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    chosen, found = options.pages or list(pages(options.folder)), []
    server = serve(options.folder)
    host = f"127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = browser(profile)
        try:
            for page in chosen:
                wrong = dict.fromkeys(look(driver, f"http://{host}/{page}", host, options.screenshots))
                found += [f"{page} {line}" for line in wrong]
            if not options.pages:
                found += use(driver, f"http://{host}")
        finally:
            driver.quit()
            server.shutdown()
    print("\n".join(found) or f"Looked at {len(chosen)} pages, {' and '.join(WIDTHS)}: nothing is wrong.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
