import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import data_for, numpy, pixels

import flowzoo
from flowzoo import plots
from flowzoo.metrics import image_statistics, png_bits_per_dim
from flowzoo.testing import perturb


@pytest.fixture(scope="module")
def flow():
    flow = flowzoo.Glow((8, 8, 3), levels=2, steps=1, hidden_channels=8)
    perturb(flow, scale=0.1)
    return flow


def test_interpolation_goes_from_one_to_the_other(flow):
    a, b = pixels(flow.event_shape, n=2)
    found = numpy(flow.interpolate(a, b, steps=5, seed=0))
    assert found.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(found[0], a)
    np.testing.assert_array_equal(found[-1], b)
    z = numpy(flow.encode(np.stack([a, b]), seed=0))
    np.testing.assert_array_equal(found[2], numpy(flow.decode(z.mean(axis=0, keepdims=True)))[0])


def test_attribute_directions_are_differences_of_means(flow):
    x = pixels(flow.event_shape, n=7)
    direction = flow.attribute_direction(x[:3], x[3:], batch_size=100, seed=0)
    with_it, without = numpy(flow.encode(x[:3], seed=0)), numpy(flow.encode(x[3:], seed=0))
    np.testing.assert_allclose(direction, with_it.mean(axis=0) - without.mean(axis=0), atol=1e-5)
    in_parts = flow.attribute_direction(x[:3], x[3:], batch_size=2)
    assert np.abs(in_parts - direction).mean() < 0.1 * np.abs(direction).mean()


def test_manipulated_images_move_along_the_direction(flow):
    x = pixels(flow.event_shape, n=2)
    direction = 0.1 * data_for((192,), n=1)[0]
    found = numpy(flow.manipulate(x, direction, [0.0, 2.0], seed=0))
    assert found.shape == (2, 2, 8, 8, 3)
    np.testing.assert_array_equal(found[:, 0], x)
    z = numpy(flow.encode(x, seed=0)) + 2 * direction
    np.testing.assert_array_equal(found[:, 1], numpy(flow.decode(z)))
    with pytest.raises(ValueError, match=r"direction must have shape \(192,\)"):
        flow.manipulate(x, direction[:5])


def test_reconstruction_keeps_the_levels_that_are_not_resampled(flow):
    x = pixels(flow.event_shape, n=3)
    np.testing.assert_array_equal(numpy(flow.reconstruct(x)), x)
    fine = flow.level_sizes[0]
    z = numpy(flow.encode(x, seed=0))
    for level, kept in ((0, slice(fine, None)), (1, slice(0, fine))):
        drawn = numpy(flow._draw(3, 1.0, 0))
        drawn[:, kept] = z[:, kept]
        found = numpy(flow.reconstruct(x, resample_levels=[level], seed=0))
        np.testing.assert_array_equal(found, numpy(flow.decode(drawn)))
        assert not np.array_equal(found, x)
    with pytest.raises(ValueError, match="resample_levels must be from 0 to 1"):
        flow.reconstruct(x, resample_levels=[2])


def test_a_class_is_the_context_of_all():
    flow = flowzoo.Glow((4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=10)
    perturb(flow, scale=0.1)
    x = pixels((4, 4, 1), n=4)
    assert tuple(flow.interpolate(x[0], x[1], steps=3, context=7).shape) == (3, 4, 4, 1)
    direction = flow.attribute_direction(x[:2], x[2:], context=7)
    assert tuple(flow.manipulate(x, direction, [1.0], context=7).shape) == (4, 1, 4, 4, 1)
    assert tuple(flow.reconstruct(x, context=[7] * 4).shape) == (4, 4, 4, 1)


def test_anomaly_scores_of_images_discount_their_complexity(flow):
    noise, plain = pixels((8, 8, 3), n=4), np.full((4, 8, 8, 3), 100, "uint8")
    x = np.concatenate([noise, plain])
    complexity = png_bits_per_dim(x)
    assert (complexity[:4] > 8).all()  # noise does not compress, and the file has a header
    assert (complexity[4:] < complexity[:4] / 2).all()
    grey = noise[..., :1].repeat(3, axis=-1)
    assert (png_bits_per_dim(grey) < 0.6 * complexity[:4]).all()
    np.testing.assert_allclose(
        flow.anomaly_score(x, seed=1), numpy(flow.bits_per_dim(x, seed=1)) - complexity, rtol=1e-6
    )
    with pytest.raises(ValueError, match="images must have shape"):
        png_bits_per_dim(x[..., :2])


def test_statistics_tell_noise_from_ramps_and_plain_images():
    noise = image_statistics(pixels((32, 32, 3), n=8))
    assert noise["mean"] == pytest.approx(127.5, abs=2)
    assert noise["contrast"] == pytest.approx(noise["deviation"], rel=0.01)
    assert noise["deviation"] == pytest.approx(np.sqrt((256**2 - 1) / 12), rel=0.02)
    assert abs(noise["neighbours"]) < 0.03
    assert noise["black"] == pytest.approx(1 / 256, abs=2e-3)
    ramp = np.broadcast_to(np.arange(0, 256, 8, dtype="uint8")[None, :, None, None], (2, 32, 32, 1))
    assert image_statistics(ramp)["neighbours"] > 0.99
    plain = image_statistics(np.array([0, 255], "uint8").repeat(64).reshape(2, 8, 8, 1))
    assert (plain["contrast"], plain["black"], plain["white"], plain["neighbours"]) == (0, 0.5, 0.5, 1)
    assert image_statistics(np.zeros((2, 8, 8, 1)))["neighbours"] == 1


def test_anomaly_scores_of_vectors_are_their_surprise():
    flow = flowzoo.RealNVP(event_shape=2, couplings=2)
    x = data_for((2,))
    np.testing.assert_allclose(flow.anomaly_score(x), -numpy(flow.log_prob(x)))


def test_pictures_of_the_latent_space(flow, tmp_path):
    x = pixels(flow.event_shape, n=4)
    cell = 2 * (8 + 2)
    plots.temperature_ladder(flow, (0.0, 1.0), n=3, path=tmp_path / "ladder.png")
    assert plt.imread(tmp_path / "ladder.png").shape[:2] == (2 * cell + 4, 3 * cell + 4)
    plots.interpolation_strips(flow, x[:2], x[2:], steps=5, path=tmp_path / "strips.png")
    assert plt.imread(tmp_path / "strips.png").shape[:2] == (2 * cell + 4, 5 * cell + 4)
    direction = np.zeros(192, "float32")
    plots.attribute_sweep(flow, x, direction, [0.0, 1.0], path=tmp_path / "sweep.png")
    assert plt.imread(tmp_path / "sweep.png").shape[:2] == (4 * cell + 4, 2 * cell + 4)


def test_training_curves_are_read_from_files(tmp_path):
    path = tmp_path / "training.csv"
    path.write_text("epoch,loss,val_loss,bits_per_dim\n0,3.0,3.5,1.0\n1,2.0,2.5,0.8\n")
    curve = plots.training_curve(path)
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), [3.0, 2.0])
    curve = plots.training_curve(path, metric="bits_per_dim")
    assert (curve.get_ylabel(), len(curve.lines)) == ("bits/dim", 1)
    with pytest.raises(ValueError, match="metric must be one of 'epoch', 'loss'"):
        plots.training_curve(path, metric="fid")
