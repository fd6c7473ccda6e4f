"""Models as TensorFlow SavedModels and as ONNX, which run without flowzoo."""

import inspect
import pathlib
import tempfile

import keras

from flowzoo import backend, checks
from flowzoo.types import PathLike

FORMATS = ("tf_saved_model", "onnx")


class Exported:
    """A part of every model: `export`, of what the model itself offers in `endpoints`."""

    def export(
        self,
        filepath: PathLike,
        format: str = "tf_saved_model",
        verbose: str | int | None = None,
        input_signature: None = None,
        *,
        opset_version: int | None = None,
    ) -> None:
        """Writes the flow for serving, as a TensorFlow SavedModel or as ONNX, which need no flowzoo.

        The SavedModel has four endpoints, each a signature too, for any number of examples:

            log_prob(x[, context][, seed])             (batch,), nats
            sample(n or context, temperature, seed)    (n, *event_shape)
            encode(x[, context][, seed])               (batch, D)
            decode(z[, context])                       (batch, *event_shape)

        They give what the methods of the flow give, and always the same for the same inputs. `x`
        has the dtype of samples, uint8 for 8-bit images; z, context (class labels too) and
        temperature that of the weights. `n` is an int32 and `seed` an int64 number. `seed` draws
        the sample and the dequantisation noise of an image flow. A conditional flow has `context`
        and no `n`: it draws one sample for each row. Called as methods of what
        `tf.saved_model.load` gives, temperature is 1 and seed 0 unless given; signatures need them.

        ONNX has log_prob(x[, context][, noise]) and decode(z[, context]), in log_prob.onnx and
        decode.onnx. `noise`, for image flows, has the shape of x and is drawn from Uniform[0, 1);
        0.5 stands for the middle of each pixel. Mixtures of Gaussians have operations that ONNX lacks.

        A `FlowVAE` exports as a SavedModel: elbo(x, seed), sample(n, temperature, seed), encode(x)
        and decode(z).

        Arguments:
            filepath: a local folder. What it holds stays, but for files of the same names; nothing
                is there before all of it is.
            format: "tf_saved_model" or "onnx"; the latter needs `pip install "flowzoo[onnx]"`.
            verbose: False to print nothing.
            input_signature: None; it is a keyword of `keras.Model.export`, whose models have one
                endpoint.
            opset_version: of ONNX; by default that of tf2onnx.

        Raises: ValueError for another format or an input_signature, on the JAX backend (save the
            flow, and load and export it with KERAS_BACKEND=tensorflow), and for a flow that ONNX
            cannot express; ImportError where tf2onnx is missing.

        Example:
            >>> import tempfile, tensorflow as tf
            >>> flow = flowzoo.RealNVP(event_shape=2, couplings=2)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     flow.export(folder, verbose=False)
            ...     served = tf.saved_model.load(folder)
            >>> tuple(served.log_prob(np.zeros((5, 2), "float32")).shape)
            (5,)
            >>> tuple(served.sample(3, temperature=0.9, seed=1).shape)
            (3, 2)
        """
        if input_signature is not None:
            raise ValueError(f"The endpoints of {self.name} have input signatures of their own; give none.")
        checks.choice("format", format, FORMATS)
        if backend.name != "tensorflow":
            raise ValueError(
                "export needs the TensorFlow backend. Save the model with save or save_pretrained, load it "
                "in a process with KERAS_BACKEND=tensorflow, and export it there."
            )
        folder = pathlib.Path(filepath)
        if folder.is_file():
            raise ValueError(f"export writes a folder, but {folder} is a file.")
        onnx = format == "onnx"
        endpoints = checked_for_onnx(self).onnx_endpoints() if onnx else self.endpoints()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as work:
            written, replaced = pathlib.Path(work, "written"), pathlib.Path(work, "replaced")
            if onnx:
                write_onnx(endpoints, written, opset_version)
            else:
                write_saved_model(endpoints, written)
            _move(written, folder, replaced)
        if verbose or verbose is None:
            print(f"Exported {self.name} to {folder}:")
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
