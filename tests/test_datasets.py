import numpy as np
import pytest
from helpers import WITHOUT_TENSORFLOW, pixels, run_python

import flowzoo
from flowzoo.datasets import Batches, ImageBatches, binarize, from_directory, image, load, load_arrays


@pytest.fixture(scope="module")
def mock_data():
    """TFDS data sets of 20 made-up images each."""
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=20):
        yield


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [("mnist", 64, (28, 28, 1)), ("cifar10", 64, (32, 32, 3)), ("celeb_a", 32, (32, 32, 3))],
)
def test_load_gives_batches_of_pixels(name, size, shape, mock_data):
    batches = [np.asarray(batch) for batch in load(name, "train", batch_size=8, size=size)]
    assert [batch.shape for batch in batches] == [(8, *shape), (8, *shape), (4, *shape)]
    assert batches[0].dtype == np.uint8


def test_load_gives_labels_and_attributes(mock_data):
    images, labels = next(iter(load("cifar10", "test", batch_size=20, labels=True)))
    assert images.shape == (20, 32, 32, 3)
    assert labels.dtype == "int64"
    _, smiling = next(iter(load("celeb_a", "test", batch_size=20, labels="Smiling")))
    assert set(np.asarray(smiling)) <= {0, 1}
    with pytest.raises(ValueError, match="labels='Smiling' is not of 'mnist'; choose one of None, True"):
        load("mnist", labels="Smiling")
    with pytest.raises(ValueError, match="labels=True is not of 'celeb_a'; choose one of None, '5_o_Clock"):
        load("celeb_a", labels=True)


def test_load_shuffles_and_mirrors_training_splits_alone(mock_data):
    stored, _ = load_arrays("cifar10", "train", labels=None)
    plain = np.concatenate(list(load("cifar10", "train", shuffle=False, flip=False)))
    np.testing.assert_array_equal(plain, stored)
    np.testing.assert_array_equal(
        np.concatenate(list(load("cifar10", "test"))), load_arrays("cifar10", "test")[0]
    )
    mirrored = np.concatenate(list(load("cifar10", "train", shuffle=False, seed=0)))
    turned = (mirrored != stored).any(axis=(1, 2, 3))
    assert 0 < turned.sum() < 20
    np.testing.assert_array_equal(mirrored[turned], stored[turned][:, :, ::-1])
    data = load("mnist", "train", seed=0)
    orders = [np.concatenate(list(data)) for _ in range(2)]
    assert not np.array_equal(*orders)
    np.testing.assert_array_equal(*[np.sort(order.sum(axis=(1, 2, 3), dtype=int)) for order in orders])


def test_celeba_is_cut_to_the_central_square_and_antialiased(monkeypatch):
    import tensorflow as tf

    stripes = np.zeros((1, 218, 178, 3), "uint8")
    stripes[:, :, ::2] = 255  # finer than the result: antialiased, it is grey
    stripes[:, :35] = stripes[:, 183:] = stripes[:, :, :15] = stripes[:, :, 163:] = 7
    data = tf.data.Dataset.from_tensor_slices({"image": stripes})
    monkeypatch.setattr(image, "_tfds", lambda *arguments: (data, {}))
    found, _ = load_arrays("celeb_a", "test", size=32, labels=None)
    assert found.shape == (1, 32, 32, 3)
    assert np.abs(found.astype(int) - 127).max() < 25


def test_where_tfds_cannot_download_the_message_names_the_files(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def refuse(*arguments, **keywords):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds, "load", refuse)
    with pytest.raises(RuntimeError) as caught:
        load("celeb_a", data_dir=str(tmp_path))
    message = str(caught.value)
    assert "no route to host" in message
    assert f"into {tmp_path / 'downloads' / 'manual'}" in message
    assert "img_align_celeba.zip (1,443,490,838 bytes) from https://" in message


def test_image_batches_hold_each_image_once_an_epoch():
    images = np.arange(10, dtype="uint8")[:, None, None, None] + np.zeros((10, 2, 2, 1), "uint8")
    labels = np.arange(10)
    batches = ImageBatches(images, labels, batch_size=4, seed=1)
    orders = []
    for _ in range(2):
        parts = [batches[i] for i in range(len(batches))]
        for part, label in parts:
            np.testing.assert_array_equal(part[:, 0, 0, 0], label)
        orders.append(np.concatenate([label for _, label in parts]))
        batches.on_epoch_end()
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert not np.array_equal(*orders)
    later = ImageBatches(images, labels, batch_size=4, seed=1, epoch=1)
    np.testing.assert_array_equal(later[0][1], orders[1][:4])
    np.testing.assert_array_equal(ImageBatches(images, shuffle=False)[0], images)


def test_batches_take_examples_of_any_shape():
    x = np.arange(10.0).reshape(5, 2)
    batches = Batches(x, x[:, 0], batch_size=2, shuffle=False)
    np.testing.assert_array_equal(batches[2][0], x[4:])
    np.testing.assert_array_equal(batches[1][1], [4.0, 6.0])
    np.testing.assert_array_equal(np.sort(Batches(x, batch_size=5)[0], axis=0), x)
    with pytest.raises(ValueError, match=r"one example or more; got an array of shape \(0, 2\)"):
        Batches(x[:0])


def test_image_batches_mirror_some_and_leave_the_data_alone():
    images = pixels((4, 4, 3), n=40)
    before = images.copy()
    found = ImageBatches(images, shuffle=False, flip=True, batch_size=40)[0]
    turned = (found != images).any(axis=(1, 2, 3))
    assert 5 < turned.sum() < 35
    np.testing.assert_array_equal(found[turned], images[turned][:, :, ::-1])
    np.testing.assert_array_equal(images, before)


def test_a_folder_of_images(tmp_path):
    from PIL import Image

    (tmp_path / "more").mkdir()
    wide = np.zeros((10, 30, 3), "uint8")
    wide[:, 10:20] = (10, 200, 30)  # the central square
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(np.full((5, 5), 60, "uint8")).save(tmp_path / "more" / "b.PNG")
    (tmp_path / "notes.txt").write_text("no image")
    batches = from_directory(tmp_path, size=4, shuffle=False)
    assert batches.x.shape == (2, 4, 4, 3)
    assert (batches.x[0, 1:3, 1:3] == (10, 200, 30)).all()
    assert (batches.x[1] == 60).all()
    assert from_directory(tmp_path, size=4, channels=1).x.shape == (2, 4, 4, 1)


def test_bad_image_data_are_explained(tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        from_directory(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        from_directory(tmp_path)
    with pytest.raises(ValueError, match="channels must be 1 or 3"):
        from_directory(tmp_path, channels=4)
    with pytest.raises(ValueError, match="images must have shape"):
        ImageBatches(np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="There are 3 examples, but 2 contexts or labels"):
        ImageBatches(np.zeros((3, 4, 4, 1)), [0, 1])


def test_a_flow_trains_on_a_tfds_pipeline(mock_data):
    flow = flowzoo.Glow((28, 28, 1), levels=1, steps=1, hidden_channels=4, classes=10)
    flow.compile(optimizer="adam")
    data = load("mnist", "train", batch_size=10, labels=True)
    history = flow.fit(data, epochs=2, validation_data=load("mnist", "test", labels=True), verbose=0).history
    assert np.isfinite(history["val_bits_per_dim"]).all()


def test_images_train_on_jax_without_tensorflow():
    pytest.importorskip("jax")
    code = """
import numpy as np
import flowzoo
images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3)).astype("uint8")
flow = flowzoo.Glow((4, 4, 3), levels=1, steps=1, hidden_channels=4)
flow.compile(optimizer="adam")
flow.fit(flowzoo.datasets.ImageBatches(images, batch_size=8, flip=True), verbose=0)
flow.fit(images, verbose=0)
flow.sample(3, seed=0)
assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
print("done")
"""
    assert run_python(WITHOUT_TENSORFLOW + code, KERAS_BACKEND="jax").strip() == "done"


# Black and white images.


def test_binarize_draws_pixels_by_their_shade():
    images = np.tile(np.array([0, 51, 204, 255], "uint8"), (20000, 1))
    drawn = binarize(images, seed=0)
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 0.2, 0.8, 1], atol=0.02)
    assert set(drawn[:, 0]) == {0.0}
    assert set(drawn[:, 3]) == {1.0}
    np.testing.assert_array_equal(binarize(images, seed=0), drawn)
    assert not np.array_equal(binarize(images, seed=1), drawn)
    with pytest.raises(ValueError, match=r"binarize takes pixels 0 \.\.\. 255; got values from -1 to 255"):
        binarize(np.array([-1, 255]))


def test_image_batches_are_binarised_anew_in_each_epoch():
    images = np.full((10, 4, 4, 1), 127, "uint8")
    batches, twin = (ImageBatches(images, batch_size=4, binarize=True, seed=1) for _ in range(2))
    first = batches[0]
    assert set(np.unique(first)) == {0.0, 1.0}
    np.testing.assert_array_equal(first, twin[0])
    assert not np.array_equal(first, batches[1])
    batches.on_epoch_end()
    assert not np.array_equal(first, batches[0])
    resumed = ImageBatches(images, batch_size=4, binarize=True, seed=1, epoch=1)
    np.testing.assert_array_equal(resumed[0], batches[0])


def test_load_binarises_anew_in_each_epoch(mock_data):
    data = load("mnist", "test", batch_size=20, binarize=True)
    first, second = (np.asarray(next(iter(data))) for _ in range(2))
    assert set(np.unique(first)) == {0.0, 1.0}
    assert not np.array_equal(first, second)
    images, labels = next(iter(load("mnist", "test", batch_size=20, binarize=True, labels=True)))
    assert set(np.unique(images)) == {0.0, 1.0}
    assert labels.dtype == "int64"
