"""Models as TensorFlow SavedModels and as ONNX, which run without flowzoo."""

import inspect
import pathlib
import tempfile

import keras
from keras import ops

from flowzoo import backend, checks
from flowzoo.flow import Flow
from flowzoo.layers.chain import inverse_chain

FORMATS = ("tf_saved_model", "onnx")


def export(model, filepath, format="tf_saved_model", verbose=None, opset_version=None):
    """Writes a flow or a `FlowVAE` to a folder; the arguments are those of `flowzoo.Flow.export`."""
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
            endpoints = onnx_endpoints(model)
            write_onnx(endpoints, written, opset_version)
        else:
            endpoints = flow_endpoints(model) if isinstance(model, Flow) else vae_endpoints(model)
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


def flow_endpoints(flow):
    x, z, context = _inputs(flow, flow.dimensions)
    noise = {"seed": _scalar("int64")} if flow.is_image_flow else {}

    def sample(temperature, seed, n=None, context=None):
        z = flow._draw(ops.shape(context)[0] if n is None else n, 1.0, seed)
        return flow.decode(temperature * z, context)

    return {
        "log_prob": (flow.log_prob, {**x, **context, **noise}),
        "sample": (sample, _sample_inputs(flow, context)),
        "encode": (flow.encode, {**x, **context, **noise}),
        "decode": (flow.decode, {**z, **context}),
    }


def vae_endpoints(vae):
    x, z, _ = _inputs(vae, vae.latent_dimensions)

    def sample(temperature, seed, n):
        if vae.prior_flow is None:
            return vae.decode(temperature * vae._noise(n, seed))
        z = vae.prior_flow.decode(temperature * vae.prior_flow._draw(n, 1.0, seed))
        return vae.decode(ops.reshape(z, (-1, vae.latent_dimensions)))

    return {
        "elbo": (vae.elbo, {**x, "seed": _scalar("int64")}),
        "sample": (sample, _sample_inputs(vae, {})),
        "encode": (vae.encode, x),
        "decode": (vae.decode, z),
    }


def onnx_endpoints(flow):
    """`log_prob` and `decode`, with the noise of an image flow as an input: ONNX draws none by seed."""
    if not isinstance(flow, Flow):
        raise ValueError(f"Only flows export as 'onnx'; export {flow.name} as 'tf_saved_model'.")
    if flow.dtype_policy.name != "float32":
        raise ValueError(
            f"Only float32 flows export as 'onnx'; the dtype policy of {flow.name} is "
            f"{flow.dtype_policy.name!r}. Build it with dtype='float32' and give it these weights."
        )
    x, z, context = _inputs(flow, flow.dimensions)
    log_prob, noise = flow.log_prob, {}
    if flow.is_image_flow:
        noise = {"noise": keras.InputSpec(shape=(None, *flow.event_shape), dtype=flow.variable_dtype)}

        def log_prob(x, noise, context=None):
            *layers, dequantize = flow.flow_layers
            values, log_det = dequantize.dequantize(flow._data(x), noise)
            z, log_dets = inverse_chain(layers, values, flow._flat_context(flow._context(context)))
            return flow._log_prob(ops.reshape(z, (-1, flow.dimensions)), [log_det, *log_dets])

    return {
        "log_prob": (log_prob, {**x, **context, **noise}),
        "decode": (flow.decode, {**z, **context}),
    }


def _inputs(model, latent_size):
    """The data, the latent and the context (of most models none) as inputs."""
    dtype = model.variable_dtype
    x = keras.InputSpec(shape=(None, *model.event_shape), dtype=model.data_dtype)
    z = keras.InputSpec(shape=(None, latent_size), dtype=dtype)
    context = {}
    if model.context_shape is not None:
        context = {"context": keras.InputSpec(shape=(None, *model.context_shape), dtype=dtype)}
    return {"x": x}, {"z": z}, context


def _sample_inputs(model, context):
    return {
        **(context or {"n": _scalar("int32")}),
        "temperature": _scalar(model.variable_dtype),
        "seed": _scalar("int64"),
    }


def _scalar(dtype):
    return keras.InputSpec(shape=(), dtype=dtype)


def _function(method, inputs):
    """`method` as a function of the `inputs` in their order, which leaves the model's state as it is."""

    def endpoint(*values):
        with keras.StatelessScope():  # the seed generators start from `seed` within the graph
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
