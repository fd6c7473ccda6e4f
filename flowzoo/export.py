"""Models as TensorFlow SavedModels and as ONNX, which run without flowzoo."""

import inspect
import pathlib
import tempfile

import keras

from flowzoo import backend, checks

FORMATS = ("tf_saved_model", "onnx")


def export(model, filepath, format="tf_saved_model", verbose=None, opset_version=None):
    """Writes a model's endpoints to a folder; the arguments are those of `flowzoo.Flow.export`."""
    checks.choice("format", format, FORMATS)
    if backend.name != "tensorflow":
        raise ValueError(
            "export needs the TensorFlow backend. Save the model with save or save_pretrained, load it in a "
            "process with KERAS_BACKEND=tensorflow, and export it there."
        )
    folder = pathlib.Path(filepath)
    if folder.is_file():
        raise ValueError(f"export writes a folder, but {folder} is a file.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as work:
        written, replaced = pathlib.Path(work, "written"), pathlib.Path(work, "replaced")
        if format == "onnx":
            endpoints = checked_for_onnx(model).onnx_endpoints()
            write_onnx(endpoints, written, opset_version)
        else:
            endpoints = model.endpoints()
            write_saved_model(endpoints, written)
        _move(written, folder, replaced)
    if verbose or verbose is None:
        print(f"Exported {model.name} to {folder}:")
        for name, (_, inputs) in endpoints.items():
            print(f"  {name}({', '.join(inputs)})")


def _move(written, folder, replaced):
    """Moves a finished folder to its place; of one that is there, entries of the same names give way."""
    if not folder.exists():
        written.rename(folder)
        return
    replaced.mkdir()
    for entry in sorted(written.iterdir()):
        target = folder / entry.name
        if target.exists():
            target.rename(replaced / entry.name)
        entry.rename(target)


# Endpoints: name -> (method, inputs), inputs: the method's keywords -> what they take.

DEFAULTS = {"temperature": 1.0, "seed": 0}


def checked_for_onnx(model):
    if not hasattr(model, "onnx_endpoints"):
        raise ValueError(f"Only flows export as 'onnx'; export {model.name} as 'tf_saved_model'.")
    if model.dtype_policy.name != "float32":
        raise ValueError(
            f"Only float32 flows export as 'onnx'; the dtype policy of {model.name} is "
            f"{model.dtype_policy.name!r}. Build it with dtype='float32' and give it these weights."
        )
    return model


def scalar_spec(dtype):
    return keras.InputSpec(shape=(), dtype=dtype)


COUNT = {"n": scalar_spec("int32")}


def data_specs(model, latent_size):
    """The data, the latent and the context (of most models none) as inputs, each a dict of one or none."""
    dtype = model.variable_dtype
    x = keras.InputSpec(shape=(None, *model.event_shape), dtype=model.data_dtype)
    z = keras.InputSpec(shape=(None, latent_size), dtype=dtype)
    context = {}
    if model.context_shape is not None:
        context = {"context": keras.InputSpec(shape=(None, *model.context_shape), dtype=dtype)}
    return {"x": x}, {"z": z}, context


def draw_specs(model):
    """What a draw takes beside the number of samples."""
    return {"temperature": scalar_spec(model.variable_dtype), "seed": scalar_spec("int64")}


def _function(method, inputs):
    """`method` as a function of the `inputs` in their order."""

    def endpoint(*values):
        return method(**dict(zip(inputs, values, strict=True)))

    endpoint.__signature__ = inspect.Signature(
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=DEFAULTS.get(name, inspect.Parameter.empty),
        )
        for name in inputs
    )
    return endpoint


def _specs(inputs):
    return [keras.InputSpec(shape=spec.shape, dtype=spec.dtype, name=name) for name, spec in inputs.items()]


# Files.


def write_saved_model(endpoints, folder):
    archive = keras.export.ExportArchive()
    for name, (method, inputs) in endpoints.items():
        archive.add_endpoint(name, _function(method, inputs), _specs(inputs))
    archive.write_out(str(folder), verbose=False)


class _Endpoint(keras.Model):
    """A function as a model, which is what Keras writes as ONNX."""

    def __init__(self, function, name):
        super().__init__(name=name, autocast=False)
        self.function = function
        self.built = True

    def call(self, *inputs):
        return self.function(*inputs)


def write_onnx(endpoints, folder, opset_version=None):
    try:
        import onnx
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ImportError('Exporting as ONNX needs tf2onnx: pip install "flowzoo[onnx]".') from error
    folder.mkdir()
    for name, (method, inputs) in endpoints.items():
        path = str(folder / f"{name}.onnx")
        model = _Endpoint(_function(method, inputs), name)
        model.export(
            path, format="onnx", verbose=False, input_signature=_specs(inputs), opset_version=opset_version
        )
        try:
            onnx.checker.check_model(path)
        except onnx.checker.ValidationError as error:
            raise ValueError(
                f"{name} has an operation that ONNX lacks; export as 'tf_saved_model'. {error}"
            ) from error
