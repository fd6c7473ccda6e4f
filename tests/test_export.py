import keras
import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, VAES
from helpers import numpy, run_python, without

import flowzoo
from flowzoo import backend
from flowzoo.testing import perturb

on_tensorflow = pytest.mark.skipif(backend.name != "tensorflow", reason="export needs TensorFlow")
WITHOUT_FLOWZOO = without("flowzoo", "keras", "tf_keras", "tensorflow_probability", "jax")

SERVED = {
    "RealNVP, mixed precision": lambda: MODELS["RealNVP"](event_shape=2, dtype="mixed_bfloat16"),
    "MAF, conditional": lambda: MODELS["MAF"](autoregressive_layers=2, context_shape=2),
    "NICE": lambda: flowzoo.NICE(event_shape=(4, 4, 1), hidden_units=(16,)),
    "Glow": lambda: IMAGE_MODELS["Glow"](steps=1),
    "Glow, conditional on images": IMAGE_MODELS["Glow, conditional on images"],
    "Glow, classes": lambda: IMAGE_MODELS["Glow, classes"](dequantization="variational", alpha=0.05),
    "VAE": VAES["two flows, discretized logistic"],
}

# Calls every endpoint of every artefact, as a method and by signature, and stores what they give.
SERVE = """
import pathlib
import numpy as np
import tensorflow as tf

for folder in pathlib.Path(sys.argv[1]).iterdir():
    served = tf.saved_model.load(str(folder))
    endpoints, outputs = {}, {}
    for key, value in np.load(folder / "inputs.npz").items():
        name, argument = key.split(".")
        endpoints.setdefault(name, {})[argument] = value
    for name, inputs in endpoints.items():
        outputs[name] = getattr(served, name)(**inputs).numpy()
        signature = served.signatures[name]
        specs = signature.structured_input_signature[1]
        tensors = {key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()}
        np.testing.assert_array_equal(signature(**tensors)["output_0"], outputs[name])
    defaults = {key: value for key, value in inputs.items() if key not in ("temperature", "seed")}
    outputs["default"] = getattr(served, name)(**defaults).numpy()
    np.savez(folder / "outputs.npz", **outputs)
print(sorted({"flowzoo", "keras", "tensorflow_probability"} & {name.split(".")[0] for name in sys.modules}))
"""


def contexts(flow):
    """Keywords: the context of six examples, if the flow takes any."""
    if flow.context_shape is None:
        return {}
    return {"context": np.random.default_rng(1).integers(0, 10, (6, *flow.context_shape))}


def calls(flow):
    """name -> (keywords of the endpoint, what the flow itself gives); `sample` comes last."""
    context = contexts(flow)
    drawn = {"temperature": 0.8, "seed": 7}
    x = numpy(flow.sample(6, **context, **drawn))
    seed = {"seed": 2**40 + 5} if flow.is_image_flow else {}
    z = np.random.default_rng(2).normal(size=(6, getattr(flow, "latent_dimensions", flow.dimensions)))
    endpoints = {"decode": {"z": z.astype("float32"), **context}}
    if isinstance(flow, flowzoo.FlowVAE):
        endpoints |= {"elbo": {"x": x, **seed}, "encode": {"x": x}}
    else:
        endpoints |= {name: {"x": x, **context, **seed} for name in ("log_prob", "encode")}
    expected = {name: numpy(getattr(flow, name)(**inputs)) for name, inputs in endpoints.items()}
    endpoints["sample"] = {**(context or {"n": 6}), **drawn}
    expected["default"] = numpy(flow.sample(6, **context, seed=0))
    return endpoints, {**expected, "sample": x}


@pytest.mark.slow
@on_tensorflow
def test_exported_models_run_without_flowzoo(tmp_path):
    expected = {}
    for model, make in SERVED.items():
        flow = make()
        perturb(flow, scale=0.2)
        states = [numpy(variable) for variable in flow.variables]
        flow.export(tmp_path / model, verbose=False)
        for variable, state in zip(flow.variables, states, strict=True):
            np.testing.assert_array_equal(numpy(variable), state, err_msg=model)
        endpoints, expected[model] = calls(flow)
        inputs = {
            f"{name}.{argument}": value
            for name, arguments in endpoints.items()
            for argument, value in arguments.items()
        }
        np.savez(tmp_path / model / "inputs.npz", **inputs)
    assert run_python(WITHOUT_FLOWZOO + SERVE, tmp_path).strip() == "[]"
    for model, outputs in expected.items():
        found = np.load(tmp_path / model / "outputs.npz")
        tolerance = 2e-2 if "mixed" in model else 1e-5  # the graph rounds to 16 bits at other places
        assert set(found) == set(outputs)
        for name, output in outputs.items():
            message = f"{model}, {name}"
            assert found[name].dtype == output.dtype, message
            np.testing.assert_allclose(found[name], output, tolerance, tolerance, err_msg=message)


# Runs every ONNX file of every folder.
RUN_ONNX = """
import pathlib
import numpy as np
import onnxruntime

for path in pathlib.Path(sys.argv[1]).glob("*/*.onnx"):
    session = onnxruntime.InferenceSession(path)
    inputs = dict(np.load(path.with_suffix(".npz")))
    np.save(path.with_suffix(".npy"), session.run(None, inputs)[0])
"""


@pytest.mark.slow
@on_tensorflow
def test_onnx_agrees_with_the_flow(tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    expected = {}
    for model in ("MAF, conditional", "NICE", "Glow, classes", "Glow, conditional on images"):
        flow = SERVED[model]()
        perturb(flow, scale=0.2)
        flow.export(tmp_path / model, format="onnx", verbose=False)
        context = {name: value.astype("float32") for name, value in contexts(flow).items()}
        x, z = numpy(flow.sample(6, **context)), numpy(flow._draw(6, 1.0, 1))
        noise = {}
        if flow.is_image_flow:
            noise = {
                "noise": numpy(flow._noise(x, backend.random_key(3)))
            }  # what `log_prob` of this seed draws
        np.savez(tmp_path / model / "log_prob.npz", x=x, **context, **noise)
        np.savez(tmp_path / model / "decode.npz", z=z, **context)
        expected[model] = {
            "log_prob": flow.log_prob(x, **context, seed=3),
            "decode": flow.decode(z, **context),
        }
    run_python(without("flowzoo", "keras", "tensorflow", "tensorflow_probability") + RUN_ONNX, tmp_path)
    for model, outputs in expected.items():
        for name, output in outputs.items():
            found = np.load(tmp_path / model / f"{name}.npy")
            np.testing.assert_allclose(found, numpy(output), rtol=1e-4, atol=1e-4, err_msg=f"{model}, {name}")


@on_tensorflow
def test_onnx_says_what_it_cannot_express():
    pytest.importorskip("tf2onnx")
    flow = flowzoo.MAF(event_shape=2, components=2, autoregressive_layers=1, hidden_units=(4,))
    with pytest.raises(ValueError, match=r"log_prob has an operation that ONNX lacks"):
        flow.export("unused", format="onnx")


@on_tensorflow
def test_export_is_whole_or_not_there(tmp_path, monkeypatch):
    flow = flowzoo.NICE(event_shape=2, couplings=2, hidden_units=(4,))
    folder = tmp_path / "models" / "nice"

    def write(endpoints, folder):
        (folder / "variables").mkdir(parents=True)
        (folder / "variables" / "index").write_text(content)
        if content == "half":
            raise OSError("disk full")
        (folder / "saved_model.pb").write_text(content)

    monkeypatch.setattr("flowzoo.export.write_saved_model", write)
    content = "half"
    with pytest.raises(OSError, match="disk full"):
        flow.export(folder)
    assert list(folder.parent.iterdir()) == []
    content = "first"
    flow.export(folder)
    (folder / "notes").write_text("mine")
    for content in ("second", "half"):
        if content == "half":
            with pytest.raises(OSError, match="disk full"):
                flow.export(folder)
        else:
            flow.export(folder)
        files = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert files == {"index": "second", "saved_model.pb": "second", "notes": "mine"}
        assert list(folder.parent.iterdir()) == [folder]


@on_tensorflow
def test_export_says_what_it_takes(tmp_path, capsys):
    flow = flowzoo.NICE(event_shape=2, couplings=2, hidden_units=(4,))
    (tmp_path / "file").write_text("")
    for error, arguments in (
        ("format must be one of 'tf_saved_model', 'onnx'; got 'litert'", {"format": "litert"}),
        ("input signatures of their own", {"input_signature": [keras.InputSpec(shape=(None, 2))]}),
        ("export writes a folder, but .*file is a file", {"filepath": tmp_path / "file"}),
    ):
        with pytest.raises(ValueError, match=error):
            flow.export(**{"filepath": tmp_path / "out", **arguments})
    for model in (VAES["no flows"](), flowzoo.NICE(event_shape=2, dtype="mixed_bfloat16")):
        with pytest.raises(ValueError, match=r"Only f.*export as 'onnx'"):
            model.export(tmp_path / "out", format="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(backend.name == "tensorflow", reason="for other backends")
def test_export_names_the_backend_that_it_needs(tmp_path):
    with pytest.raises(ValueError, match="KERAS_BACKEND=tensorflow"):
        flowzoo.NICE(event_shape=2).export(tmp_path / "out")
