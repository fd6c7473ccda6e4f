"""The libraries, and a virtual environment for each peer."""

import dataclasses
import pathlib
import subprocess
import sys

TORCH = ["torch==2.13.0", "numpy"]  # first, so that what follows takes no other build of it
JAX = ["jax==0.10.2", "jaxlib==0.10.2", "optax"]
VECTORS = ("realnvp", "maf", "maf-784", "nsf", "nsf-ar")
EVERYTHING = (*VECTORS, "glow")


@dataclasses.dataclass(frozen=True)
class Library:
    """A library as it is measured.

    `module` is its file here, `installs` the arguments of one pip install each; a library without
    any runs in flowzoo's environment. `modes` are those in which it is tried at each of `cells`.
    """

    module: str
    installs: tuple = ()
    modes: tuple = ("",)
    cells: tuple = EVERYTHING
    variables: dict = dataclasses.field(default_factory=dict)


TORCH_MODES = ("eager", "compiled")
LIBRARIES = {
    "flowzoo-tensorflow": Library("flowzoo", variables={"KERAS_BACKEND": "tensorflow"}),
    "flowzoo-jax": Library("flowzoo", variables={"KERAS_BACKEND": "jax"}),
    "zuko": Library("zuko", (TORCH, ["zuko==1.6.0"]), TORCH_MODES, VECTORS),
    "nflows": Library("nflows", (TORCH, ["nflows==0.14"]), TORCH_MODES),
    "normflows": Library("normflows", (TORCH, ["normflows==1.7.3"]), TORCH_MODES),
    "flowjax": Library("flowjax", (JAX, ["flowjax==19.1.2"]), cells=VECTORS),
    "distrax": Library("distrax", (JAX, ["distrax==0.1.9"]), cells=("realnvp",)),
    "tfp": Library("tfp", modes=("graph", "xla"), cells=("realnvp", "maf", "maf-784", "glow")),
}


def python_of(name, folder):
    """The Python of a peer's environment in `folder`, which is made unless it is there.

    Raises: RuntimeError that tells what pip said last.
    """
    home, installs = pathlib.Path(folder) / name, LIBRARIES[name].installs
    python, done = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join(" ".join(packages) for packages in installs)
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"Making the environment of {name} in {home}", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", home])
    for packages in installs:
        _run([python, "-m", "pip", "install", "--quiet", *packages])
    done.write_text(wanted)
    return python


def _run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        last = result.stdout.strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {' '.join(last)}")
