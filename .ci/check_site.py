"""Checks a built site: every link within it, every anchor, and that nothing on it is fetched from elsewhere.

python .ci/check_site.py OUT
"""

import html.parser
import pathlib
import re
import sys
import urllib.parse

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src", "video": "src"}
IN_CSS = re.compile(r"(?:url\(|@import\s+)[\"']?(https?:)?//")


class Page(html.parser.HTMLParser):
    """The anchors of a page, where it leads to and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        address = attributes.get(LOADED.get(tag))
        if address and attributes.get("rel") not in (
            "canonical",
            "next",
            "prev",
            "index",
            "search",
            "author",
        ):
            self.loads.append(address)

    handle_startendtag = handle_starttag


def problems(folder):
    """What is wrong with the pages of a folder, a line each."""
    folder = pathlib.Path(folder).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        place = path.relative_to(folder)
        for address in page.loads:
            if urllib.parse.urlsplit(address).netloc:
                yield f"{place} loads {address} from elsewhere"
        for address in dict.fromkeys([*page.links, *page.loads]):
            parts = urllib.parse.urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.is_file():
                yield f"{place} links to {address}, which is not there"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{place} links to {address}, but {target.relative_to(folder)} has no such anchor"
    for path in sorted(folder.rglob("*.css")):
        if IN_CSS.search(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(folder)} loads something from elsewhere"


def missing(folder, names):
    """Those names of the package that no page of the reference has an anchor for."""
    paths = sorted(pathlib.Path(folder, "reference").glob("*.html"))
    found = set().union(*(Page(path.read_text(encoding="utf-8")).anchors for path in paths))
    return [name for name in names if name not in found]


def check(folder, names=()):
    """Prints what is wrong; returns whether anything is."""
    found = list(problems(folder)) + [f"The reference lacks {name}" for name in missing(folder, names)]
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"{folder}: {len(list(pathlib.Path(folder).rglob('*.html')))} pages, all links lead somewhere.")
    return bool(found)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(check(sys.argv[1]))
