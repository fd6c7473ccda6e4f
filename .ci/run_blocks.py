"""Runs the code blocks of README and of the guides in .docs, page by page from top to bottom.

python .ci/run_blocks.py [PAGE ...]

What runs is what a reader sees, on TensorFlow, in an empty folder, with fits of one epoch. Comments of a
page, which no reader sees, say the rest:

    <!-- first ... -->             Python that makes a reader's own data; TESTS is the folder of the tests
    <!-- here: A is B -->          B runs in place of A, so that it takes little time
    <!-- needs: MODULE -->         the page is left out where there is no such module

A block after a line "*Not run ...:*" is left out, as readers are told, and so is what installs. Python
blocks of a page share their names; a shell block runs by itself. A pretrained model is loaded once for all
pages. Data sets are of a few images, in $TFDS_DATA_DIR if it is set.
"""

import functools
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / ".docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$|^<!-- first\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"^\*Not run[^*\n]*:\*$")
HERE = re.compile(r"<!-- here: (.+?) is (.+?) -->")


def blocks(text):
    """The blocks of a page that run: (line, kind, code), kind "python" or "sh".

    Raises: ValueError for code that would run in another way but is not in the page.
    """
    replaced = HERE.findall(text)
    found = []
    for match in BLOCK.finditer(text):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        code = match[2] or match[3]
        if NOT_RUN.match(before) or "pip install" in code:
            continue
        for this, that in replaced:
            code = code.replace(this, that)
        code = re.sub(r"\bepochs=\d+", "epochs=1", code)
        found.append((text[: match.start()].count("\n") + 1, match[1] or "python", code))
    for this, _ in replaced:
        if not any(this in (match[2] or "") for match in BLOCK.finditer(text)):
            raise ValueError(f"No block has {this!r}, which another should stand for.")
    return found


def run_page(path):
    """Runs a page's blocks in a folder of its own; returns what went wrong, or None."""
    text, names = path.read_text(encoding="utf-8"), {"TESTS": ROOT / "tests", "__name__": "page"}
    for line, kind, code in blocks(text):
        try:
            if kind == "sh":
                subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", code], check=True, stdout=subprocess.DEVNULL
                )
            else:
                # As many lines as stand above it, so that errors name the page's own.
                exec(compile("\n" * line + code, str(path), "exec"), names)
        except Exception:
            found = traceback.format_exc(limit=-4)
            return f"{path.relative_to(ROOT)}, the block of line {line}:\n{code}\n{found}"
    return None


def run(paths):
    """Runs pages in this process; returns whether one failed."""
    import matplotlib

    import flowzoo

    matplotlib.use("Agg")
    flowzoo.load = functools.cache(flowzoo.load)
    flowzoo.backend.prefers_xla = lambda convolutions: False  # which compiles for longer than this computes
    failed, start = False, pathlib.Path.cwd()
    for path in paths:
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            failure = run_page(path)
            os.chdir(start)
        matplotlib.pyplot.close("all")
        print(failure or f"{path.relative_to(ROOT)}: {time.process_time() - began:.0f} s", flush=True)
        failed |= failure is not None
    return failed


def there(path):
    """Whether what a page needs is installed; says so if not."""
    for module in re.findall(r"<!-- needs: ([\w.]+) -->", path.read_text(encoding="utf-8")):
        if importlib.util.find_spec(module) is None:
            print(f"{path.relative_to(ROOT)}: left out, since there is no {module}")
            return False
    return True


def main():
    chosen = [pathlib.Path(argument).resolve() for argument in sys.argv[1:]] or PAGES
    chosen = [path for path in chosen if blocks(path.read_text(encoding="utf-8")) and there(path)]
    with tempfile.TemporaryDirectory() as work:
        os.environ |= {
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "FLOWZOO_HUB": str(ROOT / "pretrained"),
            "FLOWZOO_HOME": f"{work}/home",
        }
        if "TFDS_DATA_DIR" not in os.environ:
            os.environ["TFDS_DATA_DIR"] = f"{work}/tfds"
            command = [sys.executable, ROOT / ".ci/tiny_tfds.py", f"{work}/tfds"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return run(chosen)


if __name__ == "__main__":
    sys.exit(main())
