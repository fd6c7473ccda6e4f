"""Runs the notebooks of colab/ from top to bottom, two at a time.

python .ci/run_notebooks.py [--store] [NOTEBOOK ...]

A cell that raises, warns or writes to stderr fails the run. --store keeps the outputs, and
writes the picture of the cell tagged "cover" beside the notebook.
"""

import argparse
import base64
import concurrent.futures
import pathlib
import sys
import tempfile
import time

import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "colab"


def run(path, store):
    """What went wrong with a notebook, or None."""
    notebook = nbformat.read(path, 4)
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=900,
            record_timing=False,
            resources={"metadata": {"path": folder}},
            # As on Colab, what libraries in C write goes to the kernel's log.
            extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        )
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            return str(error)
    print(f"{path.name}: {time.time() - start:.0f} s", flush=True)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    for output in outputs:
        if output.get("name") == "stderr" or "WARNING" in output.get("text", ""):
            return output["text"]
    if store:
        nbformat.write(notebook, path)
        store_cover(notebook, path)
    return None


def store_cover(notebook, path):
    covers = [cell for cell in notebook.cells if "cover" in cell.metadata.get("tags", [])]
    for output in (output for cell in covers for output in cell.outputs):
        for suffix in ("png", "jpeg"):
            picture = output.get("data", {}).get(f"image/{suffix}")
            if picture:
                path.with_suffix(f".{suffix}").write_bytes(base64.b64decode(picture))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path)
    parser.add_argument("--store", action="store_true", help="keep the outputs in the notebooks")
    arguments = parser.parse_args()
    notebooks = arguments.notebooks or sorted(FOLDER.glob("*.ipynb"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures = list(pool.map(run, notebooks, [arguments.store] * len(notebooks)))
    for path, failure in zip(notebooks, failures, strict=True):
        if failure:
            print(f"{path.name} failed:\n{failure}", file=sys.stderr)
    return any(failures)


if __name__ == "__main__":
    sys.exit(main())
