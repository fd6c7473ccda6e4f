"""What builds and checks the site, on small pages; CI runs it on the real ones."""

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
if not (ROOT / ".docs").is_dir():
    pytest.skip("the checkout's guides are not here", allow_module_level=True)


def script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_site = script(ROOT / ".ci/check_site.py")
run_blocks = script(ROOT / ".ci/run_blocks.py")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="other.html#here">', None),
        ('<a href="https://example.org">', None),
        ('<a href="gone.html">', "a.html links to gone.html, which is not there"),
        ('<a href="other.html#gone">', "but other.html has no such anchor"),
        ('<a href="#gone">', "but a.html has no such anchor"),
        ('<img src="gone.png">', "a.html links to gone.png"),
        ('<img src="https://example.org/badge.svg"/>', "a.html loads https://example.org/badge.svg"),
        ('<script src="//cdn.example.org/x.js"></script>', "from elsewhere"),
    ],
)
def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(tmp_path, body, problem):
    (tmp_path / "a.html").write_text(body)
    (tmp_path / "other.html").write_text('<h1 id="here">')
    found = list(check_site.problems(tmp_path))
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_fonts_of_other_hosts_are_found(tmp_path):
    (tmp_path / "a.css").write_text('@import "https://fonts.example.org/css";')
    assert list(check_site.problems(tmp_path)) == ["a.css loads something from elsewhere"]


def test_names_without_an_anchor_in_the_reference_are_missing(tmp_path):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference/a.html").write_text('<dt id="flowzoo.load">')
    assert check_site.missing(tmp_path, ["flowzoo.load", "flowzoo.info"]) == ["flowzoo.info"]


PAGE = """
<!-- first
x = 3
-->
<!-- here: x + 1000 is x + 1 -->

```python
y = x + 1000
flow.fit(epochs=30)
```

*Not run here, since it needs a network:*

```sh
flowzoo download
```
"""


def test_blocks_run_as_their_page_says():
    assert run_blocks.blocks(PAGE) == [
        (2, "python", "x = 3\n"),
        (7, "python", "y = x + 1\nflow.fit(epochs=1)\n"),
    ]
    with pytest.raises(ValueError, match=r"No block has 'x \+ 1000'"):
        run_blocks.blocks(PAGE.replace("x + 1000\n", "x\n"))


def test_a_failing_block_is_told_with_its_page_and_line(tmp_path, monkeypatch):
    monkeypatch.setattr(run_blocks, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("# A page\n\n```python\na = 1\n```\n\n```python\na + b\n```\n")
    failure = run_blocks.run_page(tmp_path / "page.md")
    assert "page.md, the block of line 7" in failure
    assert re.search(r"page\.md\", line 8.*NameError: name 'b'", failure, re.DOTALL)
    (tmp_path / "page.md").write_text("```python\na = 1\n```\n\n```python\na + 1\n```\n")
    assert run_blocks.run_page(tmp_path / "page.md") is None


DOCSTRING = """The density p(x | c), by `log_prob(x)`.

    log p(x) = log p(z) + |det|

References:
    A paper (Who et al., 2019,
    arXiv:1906.04032)

Arguments:
    a, b: numbers; of
        two lines.

Raises: ValueError for
    others."""


def test_docstrings_become_restructured_text():
    pytest.importorskip("sphinx")
    found = "\n".join(script(ROOT / ".docs/docstrings.py").to_rst(DOCSTRING.splitlines()))
    assert "The density p(x \\| c), by ``log_prob(x)``." in found
    assert "::\n\n    log p(x) = log p(z) + |det|" in found
    assert "- A paper (Who et al., 2019, `arXiv:1906.04032 <https://arxiv.org/abs/1906.04032>`__)" in found
    assert "``a``, ``b``\n    numbers; of\n    two lines." in found
    assert "**Raises** ValueError for\nothers." in found
