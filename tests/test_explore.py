"""The explorer without a browser: what it computes, and what its server answers."""

import base64
import http.client
import io
import json
import threading

import numpy as np
import pytest
from cases import IMAGE_MODELS, MODELS, VAES
from helpers import numpy, pixels, run_python
from PIL import Image
from typer.testing import CliRunner

import flowzoo
from flowzoo import cli
from flowzoo.explore import actions, context, images, points, server
from flowzoo.explore.library import Library, Opened, own_model
from flowzoo.explore.pictures import data_url, fitted, opened
from flowzoo.testing import perturb

CLASS = 3


@pytest.fixture(scope="module")
def glow():
    flow = IMAGE_MODELS["Glow, classes"]()
    perturb(flow)
    return flow


@pytest.fixture(scope="module")
def plane():
    flow = MODELS["RealNVP"](event_shape=2)
    perturb(flow)
    return flow


@pytest.fixture(scope="module")
def vae():
    return VAES["FVAE"]()


@pytest.fixture(scope="module")
def digit():
    return pixels((4, 4, 1), n=1)[0]


def asked(model, action, directions=None, facts=None, **request):
    """What an action answers, as JSON brings it to the page."""
    source = Opened(model, {"class": type(model).__name__, **(facts or {})}, directions or {})
    return json.loads(json.dumps(actions.perform(action, source, request), allow_nan=False))


def image_of(url):
    return np.asarray(opened(url))


def url_of(content, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def file_of(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return url_of(file.getvalue())


# Pictures.


@pytest.mark.parametrize("shape", [(4, 6, 1), (5, 3, 3)])
def test_pixels_go_to_the_page_and_back_unchanged(shape):
    array = pixels(shape, n=1)[0]
    np.testing.assert_array_equal(fitted(opened(data_url(array)), shape), array)


def test_the_middle_of_an_image_is_taken():
    array = np.zeros((4, 12, 3), "uint8")
    array[:, 4:8] = 200
    assert (fitted(opened(file_of(Image.fromarray(array))), (4, 4, 3)) == 200).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (9, 7), (0, 0, 0, 0)), 255),  # what is transparent becomes white
        (Image.new("LA", (9, 7), (10, 255)), 10),
        (Image.new("P", (9, 7)), 0),
        (Image.new("1", (9, 7), 1), 255),
        (Image.new("CMYK", (9, 7), (0, 0, 0, 0)), 255),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_mode_fit(image, expected, channels):
    found = fitted(opened(file_of(image, "TIFF")), (4, 4, channels))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.full((4, 4, channels), expected))
    np.testing.assert_array_equal(fitted(image, (4, 4, channels), invert=True), 255 - found)


def test_images_of_16_bits_span_all_greys():
    array = np.arange(16, dtype="uint16").reshape(4, 4) * 4000
    found = fitted(opened(file_of(Image.fromarray(array))), (4, 4, 1))
    assert (found.min(), found.max()) == (0, 255)
    assert (np.diff(found.ravel().astype(int)) > 0).all()


def test_photographs_are_turned_upright():
    array = np.zeros((2, 4, 3), "uint8")
    array[:, :2] = 255
    image = Image.fromarray(array)
    exif = image.getexif()
    exif[0x0112] = 6  # taken with the camera's right side down
    turned = opened(file_of(image, "PNG", exif=exif.tobytes()))
    assert turned.size == (2, 4)
    assert np.asarray(turned)[0].min() == 255


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (data_url(pixels((32, 32, 3), n=1)[0])[:2022], "cannot be read"),
        (url_of(b"no image"), "no image of a known format"),
        (url_of(b""), "is empty"),
        ("data:image/png;base64,=", "did not arrive whole"),
        ("https://example.org/image.png", "must come as a file"),
        (None, "must come as a file"),
    ],
)
def test_damaged_files_are_told_of_in_words(url, words):
    with pytest.raises(ValueError, match=words):
        opened(url)


def test_too_large_images_are_refused_before_they_are_unpacked(monkeypatch):
    monkeypatch.setattr("flowzoo.explore.pictures.MOST_PIXELS", 10)
    with pytest.raises(ValueError, match="4 x 3 pixels"):
        opened(data_url(np.zeros((3, 4, 1), "uint8")))


# Images.


def test_draws_are_those_of_the_model_and_its_classes(glow):
    answer = asked(glow, "draw", n=12, seed=5, temperature=[0.5, 1.0])
    labels = np.arange(12) % 10
    assert answer["labels"] == labels.tolist()
    expected = numpy(glow.sample(12, labels, temperature=[0.5, 1.0], seed=5))
    np.testing.assert_array_equal([image_of(url)[..., None] for url in answer["images"]], expected)
    assert asked(glow, "draw", n=2, label=CLASS)["labels"] == [CLASS] * 2


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"label": 10}, "class must be an integer from 0 to 9; got 10"),
        ({"n": 0}, "number of images must be an integer from 1 to 64; got 0"),
        ({"n": 2, "temperature": [1.0] * 3}, "one for each of the 2 levels"),
        ({"n": 2, "temperature": -1}, "must not be negative"),
        ({"n": 2, "temperature": "hot"}, "temperature must be numbers"),
        ({"seed": 0.5}, "seed must be an integer"),
        ({"colour": 1}, "not known"),
    ],
)
def test_wrong_wishes_are_told_of_in_words(glow, request_, words):
    with pytest.raises(ValueError, match=words):
        asked(glow, "draw", **request_)


def test_a_walk_starts_and_ends_at_its_images(glow):
    a, b = pixels((4, 4, 1), n=2)
    frames = asked(glow, "walk", a=data_url(a), b=data_url(b), label=CLASS)["frames"]
    assert len(frames) == actions.FRAMES
    np.testing.assert_array_equal(image_of(frames[0])[..., None], a)
    np.testing.assert_array_equal(image_of(frames[-1])[..., None], b)


def test_attributes_move_the_latent_together(glow, digit):
    random = np.random.default_rng(0)
    directions = {name: random.normal(size=16).astype("float32") for name in ("Smiling", "Young")}

    def changed(**strengths):
        wish = {"image": data_url(digit), "strengths": strengths, "label": CLASS}
        return image_of(asked(glow, "change", directions, **wish)["image"])[..., None]

    np.testing.assert_array_equal(changed(), digit)
    move = 0.3 * directions["Smiling"] - 0.2 * directions["Young"]
    expected = numpy(glow.manipulate(digit[None], move, [1.0], context=[CLASS], seed=0))[0, 0]
    np.testing.assert_array_equal(changed(Smiling=0.3, Young=-0.2), expected)
    with pytest.raises(ValueError, match="no attribute 'Old'; there are Smiling, Young"):
        changed(Old=1.0)


def test_neighbours_go_from_the_image_to_new_samples(glow, digit):
    def found(image, distance):
        answer = asked(glow, "neighbours", image=data_url(image), distance=distance, n=3, label=CLASS, seed=1)
        return np.stack([image_of(url)[..., None] for url in answer["images"]])

    np.testing.assert_array_equal(found(digit, 0), np.repeat(digit[None], 3, axis=0))
    np.testing.assert_array_equal(found(digit, 1), found(255 - digit, 1))
    assert len(np.unique(found(digit, 1), axis=0)) == 3
    near, far = (np.abs(found(digit, d).astype(float) - digit).mean() for d in (0.05, 0.9))
    assert near < far
    with pytest.raises(ValueError, match="distance must lie from 0"):
        found(digit, 1.5)


def test_levels_are_drawn_anew_as_the_model_does(glow, digit):
    def found(levels):
        answer = asked(glow, "redraw", image=data_url(digit), levels=levels, n=2, label=CLASS, seed=3)
        return np.stack([image_of(url)[..., None] for url in answer["images"]])

    x = np.repeat(digit[None], 2, axis=0)
    np.testing.assert_array_equal(found([]), x)
    expected = glow.reconstruct(x, np.full(2, CLASS), resample_levels=[1], seed=3)
    np.testing.assert_array_equal(found([1]), numpy(expected))
    with pytest.raises(ValueError, match="from 0 to 1"):
        found([2])


def test_an_image_is_measured_as_of_its_likeliest_class(glow, digit):
    answer = asked(glow, "look", image=data_url(digit))
    x = digit[None]
    assert answer["label"] == int(np.argmax(numpy(glow.class_log_probs(x, seed=0))))
    assert sum(answer["classes"]) == pytest.approx(1, abs=1e-5)
    context = [answer["label"]]
    expected = (glow.bits_per_dim(x, context, seed=0), glow.anomaly_score(x, context, seed=0))
    assert [each["value"] for each in answer["figures"]] == pytest.approx([float(e[0]) for e in expected])
    assert {each["unit"] for each in answer["figures"]} == {"bits/dim"}
    assert asked(glow, "look", image=data_url(digit), label=CLASS)["label"] == CLASS


@pytest.mark.parametrize("name", ["FVAE", pytest.param("IAFVAE", marks=pytest.mark.slow)])
def test_vaes_bring_images_back(name, vae):
    model = vae if name == "FVAE" else VAES[name]()
    x = pixels(model.event_shape, n=1)
    answer = asked(model, "look", image=data_url(x[0]))
    given = (x >= 128).astype("float32") if name == "IAFVAE" else x
    expected = numpy(model.reconstruct(given)).astype("float64") * (255 if name == "IAFVAE" else 1)
    found = image_of(answer["reconstructions"][0]).reshape(model.event_shape)
    np.testing.assert_allclose(found, expected[0], atol=0.51)
    assert len(answer["reconstructions"]) == 4
    names = {"FVAE": ["Information", "Reconstruction"], "IAFVAE": ["Log-likelihood", "Evidence lower bound"]}
    assert [each["name"] for each in answer["figures"]] == names[name]
    around = asked(model, "neighbours", image=data_url(x[0]), distance=0, n=2)["images"]
    assert np.abs(image_of(around[0]).astype(float).ravel() - found.ravel()).max() <= 1


def test_levels_of_a_vae_are_those_of_its_prior(vae):
    x = pixels((8, 8, 3), n=1)[0]
    assert asked(vae, "describe")["levels"] == list(vae.prior_flow.level_sizes)
    kept = asked(vae, "redraw", image=data_url(x), levels=[], n=1)["images"][0]
    back = numpy(vae.reconstruct(x[None]))[0]
    np.testing.assert_allclose(image_of(kept).astype(float), back, atol=1)


# The plane, and rows of numbers.


def test_the_density_is_the_flow_s_and_stands_upright(plane):
    centre, radius = [0.5, -1.0], 3.0
    picture = points.density(plane, centre, radius).astype(int).sum(axis=-1)
    ends = radius * (1 - 1 / points.RESOLUTION)
    x = np.linspace(centre[0] - ends, centre[0] + ends, points.RESOLUTION)
    y = np.linspace(centre[1] + ends, centre[1] - ends, points.RESOLUTION)  # the top row first
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype("float32")
    density = np.exp(numpy(plane.log_prob(grid))).reshape(picture.shape)
    assert density[picture > np.quantile(picture, 0.9)].min() > np.quantile(density, 0.85)


def test_layers_bend_the_latent_plane_into_the_data_s(plane):
    answer = asked(plane, "layers", n=7, seed=2)
    lines, drawn = np.array(answer["lines"]), np.array(answer["points"])
    assert answer["names"] == [type(layer).__name__ for layer in plane.flow_layers]
    assert len(lines) == len(drawn) == len(plane.flow_layers) + 1
    for way in (lines, drawn):
        z = way[0].reshape(-1, 2).astype("float32")
        np.testing.assert_allclose(way[-1].reshape(-1, 2), numpy(plane.decode(z)), atol=0.02)
    assert np.ptp(lines[0, 0, :, 0]) == 0  # the grid's lines are straight at first
    assert np.ptp(lines[-1, 0, :, 0]) > 0.01


def test_a_walk_in_the_plane_is_the_model_s(plane):
    a, b = [0.5, 0.25], [-1.0, 0.0]
    path = np.array(asked(plane, "walk", a=a, b=b)["points"])
    np.testing.assert_allclose(path[[0, -1]], [a, b], atol=1e-4)
    assert path.shape == (actions.PATH, 2)


def test_points_and_their_densities_are_the_model_s(plane):
    drawn = asked(plane, "draw", n=5, seed=1)["points"]
    np.testing.assert_allclose(drawn, numpy(plane.sample(5, seed=1)), rtol=1e-5)
    (figure,) = asked(plane, "measure", row=[0.1, -0.2])["figures"]
    assert figure["value"] == pytest.approx(float(plane.log_prob([[0.1, -0.2]])[0]), rel=1e-5)
    assert figure["unit"] == "nats"
    with pytest.raises(ValueError, match="row must have 2 numbers; got 3"):
        asked(plane, "measure", row=[1, 2, 3])


def test_rows_of_many_numbers_have_no_picture_of_their_density():
    flow = MODELS["NICE"](event_shape=5)
    assert asked(flow, "describe")["kind"] == "vectors"
    assert np.shape(asked(flow, "draw", n=3)["points"]) == (3, 5)
    with pytest.raises(ValueError, match="no flow of the plane"):
        asked(flow, "density")


def test_contexts_are_typed_in_or_refused():
    flow = MODELS["RealNVP"](event_shape=2, context_shape=(3,))
    assert asked(flow, "describe")["context"] == 3
    given = asked(flow, "draw", n=2, context=[1.0, 2.0, 3.0])["points"]
    expected = flow.sample(2, np.array([1.0, 2.0, 3.0]), seed=0)
    np.testing.assert_allclose(given, numpy(expected), rtol=1e-5)
    with pytest.raises(ValueError, match="context must have 3 numbers; got 1"):
        asked(flow, "draw", context=[1.0])
    with pytest.raises(ValueError, match="which this page cannot ask for"):
        context.contexts(MODELS["RealNVP"](event_shape=2, context_shape=(5, 5)), 1)


@pytest.mark.slow
def test_guidance_is_for_models_that_take_it(glow):
    flow = IMAGE_MODELS["TarFlow, classes"]()
    perturb(flow)
    assert (asked(flow, "describe")["guidance"], asked(glow, "describe")["guidance"]) == (True, False)
    drawn, _ = images.draw(flow, 2, label=CLASS, guidance=1.0)
    expected = flow.sample(2, [CLASS, CLASS], guidance=1.0, seed=0)
    np.testing.assert_array_equal(drawn, numpy(expected))


# The server.


@pytest.fixture(scope="module")
def hub(tmp_path_factory, glow):
    """A folder of models with one, "tiny-glow"."""
    folder = tmp_path_factory.mktemp("hub")
    flowzoo.save_pretrained(glow, folder / "tiny-glow", description="Small.", licence="Apache-2.0")
    return folder


@pytest.fixture
def running(hub, monkeypatch):
    """A server of the explorer, and a function that asks it."""
    monkeypatch.setenv("FLOWZOO_HUB", str(hub))
    with server.Server(Library("tiny-glow")) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def sent(running, method, path, body=None, **headers):
    """Status, headers and content of an answer."""
    connection = http.client.HTTPConnection(*running.server_address[:2], timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def post(running, action, body, **headers):
    status, _, content = sent(
        running, "POST", f"/ask/{action}", json.dumps(body), **{"Content-Type": "application/json", **headers}
    )
    return status, [json.loads(line) for line in content.splitlines()]


def test_the_page_is_served_with_all_that_it_needs(running):
    status, headers, _ = sent(running, "GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    for path in server.PAGE.iterdir():
        assert sent(running, "GET", f"/{path.name}")[2] == path.read_bytes()


def test_the_page_names_no_other_address():
    for path in server.PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/etc/passwd", "/page/index.html"])
def test_nothing_but_the_page_is_served(running, path):
    assert sent(running, "GET", path)[0] == 404
    assert sent(running, "POST", path, "{}")[0] == 404


def test_models_are_listed_and_described(running):
    found = json.loads(sent(running, "GET", "/models")[2])
    assert found["start"] == "tiny-glow"
    assert {"name": "tiny-glow", "title": "tiny-glow", "problem": ""} in found["models"]
    status, lines = post(running, "describe", {"model": "tiny-glow"})
    assert status == 200
    assert lines[0] == {"doing": "Loading tiny-glow"}
    about = lines[-1]["done"]
    assert (about["kind"], about["classes"], about["text"]) == ("images", 10, "Small.")


def test_answers_say_first_what_is_being_done(running):
    wish = {"model": "tiny-glow", "n": 2, "seed": 1}
    _, lines = post(running, "draw", wish)
    assert [next(iter(line)) for line in lines] == ["doing", "doing", "done"]
    assert lines[1]["doing"] == "Drawing, and compiling, as it is the first time"
    assert len(lines[-1]["done"]["images"]) == 2
    assert post(running, "draw", wish)[1] == [{"doing": "Drawing"}, lines[-1]]


@pytest.mark.parametrize(
    ("action", "wish", "words"),
    [
        ("draw", {"model": "tiny"}, "No model of this page is called 'tiny'."),
        ("draw", {"model": "/etc"}, "No model of this page is called '/etc'."),
        ("draw", {"model": "tiny-glow", "label": 11}, "The class must be an integer from 0 to 9; got 11."),
        ("look", {"model": "tiny-glow"}, "missing a required argument: 'image'"),
        ("look", {"model": "tiny-glow", "image": "data:;base64,AAAA"}, "no image of a known format"),
    ],
)
def test_errors_reach_the_page_in_words(running, action, wish, words):
    status, lines = post(running, action, wish)
    assert status == 200
    assert words in lines[-1]["error"]
    assert "Traceback" not in lines[-1]["error"]


def test_an_unforeseen_error_reaches_the_page_too(running, monkeypatch):
    monkeypatch.setitem(actions.ACTIONS, "draw", lambda source: 1 // 0)
    _, lines = post(running, "draw", {"model": "tiny-glow"})
    expected = "This should not have happened: ZeroDivisionError: "
    assert lines[-1]["error"].startswith(expected)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Host": "rebound.example:80"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_sites_are_refused(running, headers):
    assert post(running, "draw", {"model": "tiny-glow"}, **headers)[0] == 403
    assert sent(running, "GET", "/models", **headers)[0] == 403


def test_the_page_s_own_origin_is_welcome(running):
    address = running.address.rstrip("/")
    assert post(running, "draw", {"model": "nothing"}, Origin=address)[0] == 200
    port = running.server_address[1]
    named = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
    assert post(running, "draw", {"model": "nothing"}, **named)[0] == 200


def test_requests_of_another_kind_are_refused(running):
    assert sent(running, "POST", "/ask/draw", "{}", Content_Type="text/plain")[0] == 415
    kind = {"Content_Type": "application/json"}
    for body in ("[]", "{", '{"model": 1}'):
        assert sent(running, "POST", "/ask/draw", body, **kind)[0] == 400
    assert sent(running, "POST", "/ask/draw", None, **kind, Content_Length=str(server.LARGEST + 1))[0] == 413


def test_computations_of_a_model_take_turns(hub, monkeypatch):
    monkeypatch.setenv("FLOWZOO_HUB", str(hub))
    library, told, order = Library(), [], []
    waiting = threading.Event()

    def tell(words):
        told.append(words)
        if words.startswith("Waiting"):
            waiting.set()

    def second():
        with library.using("tiny-glow", tell):
            order.append("second")

    with library.using("tiny-glow", told.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert told == ["Loading tiny-glow", "Waiting for another computation of this model"]


def test_a_folder_of_one_s_own_is_listed_first(hub, published):
    library = Library(own_model(published / "tiny"))
    assert library.names()[0] == library.start() == str(published / "tiny")
    assert library.listed()[0]["title"] == "tiny (own)"
    with library.using(str(published / "tiny"), print) as source:
        assert context.kind(source.model) == "vectors"


def test_few_models_stay_in_memory(published, monkeypatch):
    monkeypatch.setattr("flowzoo.explore.library.MOST", 1)
    monkeypatch.setenv("FLOWZOO_HUB", str(published))
    library = Library(str(published.parent / published.name / "tiny"))
    for name in ("tiny", library.own):
        with library.using(name, print):
            assert list(library.opened) == [name]


def test_actions_have_words():
    assert actions.ACTIONS.keys() == server.DOING.keys()


def test_the_command_serves_until_it_is_interrupted(hub, monkeypatch):
    monkeypatch.setenv("FLOWZOO_HUB", str(hub))

    def interrupted(running):
        raise KeyboardInterrupt

    monkeypatch.setattr(server.Server, "serve_forever", interrupted)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    result = CliRunner().invoke(cli.app, ["explore", "tiny-glow", "--port", "0", "--no-browser"])
    assert result.exit_code == 0
    assert "Exploring at http://127.0.0.1:" in result.output
    assert "no password" not in result.output
    assert opened == []
    result = CliRunner().invoke(cli.app, ["explore", "--port", "0", "--host", "0.0.0.0", "--no-browser"])
    assert "Whoever reaches 0.0.0.0 can use it" in result.output
    result = CliRunner().invoke(cli.app, ["explore", "nothing"])
    assert "No pretrained model is called 'nothing'" in str(result.exception)


def test_a_port_that_is_taken_is_told_of(running):
    port = running.server_address[1]
    with pytest.raises(OSError, match=f"127.0.0.1 port {port} cannot be listened on"):
        server.serve("tiny-glow", port=port, browser=False)


def test_the_server_starts_without_keras():
    code = """
import sys
sys.argv = ["flowzoo", "explore"]
import flowzoo.explore
print([name for name in ("keras", "tensorflow", "jax") if name in sys.modules])
"""
    assert run_python(code).strip() == "[]"
