import keras
import numpy as np
import pytest
from helpers import numpy, pixels

import flowzoo
from flowzoo import backend, plots
from flowzoo.callbacks import SampleGrid


def test_sample_grids_show_the_same_latents_after_every_epoch(tmp_path):
    import matplotlib.pyplot as plt

    flow = flowzoo.Glow((4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=3)
    flow.compile(optimizer=keras.optimizers.Adam(0.05))
    x, labels = pixels((4, 4, 1), n=32) // 4, np.arange(32) % 3
    callback = SampleGrid(tmp_path / "grids", n=4, context=1, temperature=0.7)
    flow.fit(x, labels, epochs=2, callbacks=[callback], verbose=0)
    assert [path.name for path in sorted(callback.folder.iterdir())] == ["epoch_0001.png", "epoch_0002.png"]
    first, second = (plt.imread(callback.path(epoch)) for epoch in (0, 1))
    assert not np.array_equal(first, second)
    samples = numpy(flow.sample(4, context=1, temperature=0.7, seed=0))
    expected = plots.tile_images(samples).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(second[..., :3], expected / 255, atol=1e-6)


def test_sample_grids_go_to_tensorboard(tmp_path):
    tf = pytest.importorskip("tensorflow")
    flow = flowzoo.Glow((4, 4, 3), levels=1, steps=1, hidden_channels=4)
    flow.compile(optimizer="adam")
    flow.fit(pixels((4, 4, 3)), callbacks=[SampleGrid(tmp_path, n=4, tensorboard=True)], verbose=0)
    (events,) = tmp_path.glob("events.out.tfevents.*")
    tags = [
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    ]
    assert tags == ["samples"]


@pytest.mark.xla
def test_xla_is_chosen_where_it_is_faster():
    flow = flowzoo.RealNVP(event_shape=2, couplings=2)
    images = flowzoo.Glow(event_shape=(4, 4, 1), levels=1, steps=1, hidden_channels=4)
    for each in (flow, images):
        each.compile()
    if backend.name == "tensorflow":  # whose own convolutions are faster on a CPU
        assert flow.jit_compile is True
        assert images.jit_compile is backend.has_gpu()
    flow.compile(jit_compile=False)
    assert flow.jit_compile is False
