"""The notebooks as they are stored; .ci/run_notebooks.py runs them."""

import base64
import json
import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    """A notebook's path and its cells."""
    return request.param, json.loads(request.param.read_text())["cells"]


def code(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_it_opens_in_colab_and_installs_from_the_repository(notebook):
    path, cells = notebook
    address = REPOSITORY.removeprefix("https://github.com/")
    badge, target = re.match(
        r"\[!\[Open in Colab\]\((.*?)\)\]\((.*?)\)\n", "".join(cells[0]["source"])
    ).groups()
    assert badge == "https://colab.research.google.com/assets/colab-badge.svg"
    assert target == f"https://colab.research.google.com/github/{address}/blob/main/colab/{path.name}"
    assert "".join(code(cells)[0]["source"]) == (
        "import importlib.util\n\n"
        'if importlib.util.find_spec("flowzoo") is None:\n'
        f"    %pip install -q git+{REPOSITORY}"
    )
    found = re.findall(r"https://github\.com/[\w-]+/flowzoo", json.dumps(cells))
    assert set(found) == {REPOSITORY}


def test_its_outputs_are_those_of_one_run_without_warnings(notebook):
    path, cells = notebook
    assert [cell["execution_count"] for cell in code(cells)] == list(range(1, len(code(cells)) + 1))
    for output in (output for cell in code(cells) for output in cell["outputs"]):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", output["text"]
        assert "WARNING" not in "".join(output.get("text", []))
    assert path.stat().st_size < 2e6


def test_the_readme_shows_its_cover(notebook):
    path, cells = notebook
    (cover,) = [cell for cell in code(cells) if "cover" in cell["metadata"].get("tags", [])]
    [(kind, data)] = [
        (kind, data)
        for output in cover["outputs"]
        for kind, data in output.get("data", {}).items()
        if kind.startswith("image/")
    ]
    picture = path.with_suffix("." + kind.removeprefix("image/"))
    assert picture.read_bytes() == base64.b64decode("".join(data))
    readme = (ROOT / "README.md").read_text()
    assert f"(colab/{path.name})" in readme
    assert f'src="colab/{picture.name}"' in readme
