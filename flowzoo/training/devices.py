"""The devices of one machine, or of several, that a model trains on together."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable

import keras
import numpy as np

from flowzoo import backend, checks


@dataclasses.dataclass(frozen=True)
class Devices:
    """Devices that each take a part of every batch; by default the one that Keras takes itself.

    Attributes:
        count: number of devices, of all machines together.
        machines: number of machines, or processes, that run the same program.
        machine: which of them this one is; the first, 0, alone writes files.
        scope: gives the context in which the model is built and compiled.
        gather: gives the list of all machines' values of an integer.
    """

    count: int = 1
    machines: int = 1
    machine: int = 0
    scope: Callable = contextlib.nullcontext
    gather: Callable = lambda value: [value]

    def fit_scope(self):
        """The context of `fit`: on TensorFlow the model itself knows its strategy."""
        return self.scope() if backend.name == "jax" else contextlib.nullcontext()

    def share(self, batches):
        """What this machine feeds to `fit` of a `PyDataset` that all machines have.

        TensorFlow's strategy takes this machine's part of a batch by itself, Keras's distribution
        on JAX is given it.
        """
        if backend.name == "jax" and self.machines > 1:
            return _Part(batches, self.machine, self.machines)
        return batches


def find_devices(count=None):
    """The first `count` devices of each machine: GPUs if it has any, else CPU devices.

    With the environment variable TF_CONFIG on TensorFlow, KERAS_DISTRIBUTION_JOB_ADDRESSES and its
    kin on JAX, the machines that these name take part; call it before the backend computes.
    With `count` None it is one device, whatever the environment says.

    Raises: ValueError if a machine has fewer devices.
    """
    if count is None:
        return Devices()
    count = checks.positive_integer("devices", count)
    return _jax_devices(count) if backend.name == "jax" else _tensorflow_devices(count)


@functools.cache  # a second strategy in one process would take the collective keys of the first
def _tensorflow_devices(count):
    import tensorflow as tf

    kind = "GPU" if backend.has_gpu() else "CPU"
    several_machines = "TF_CONFIG" in os.environ
    if several_machines:
        found = tf.config.list_physical_devices(kind)
    else:
        found = tf.config.list_logical_devices(kind)
    _check_count(
        count,
        len(found),
        kind,
        "tf.config.set_logical_device_configuration makes several of one, for tests, before TensorFlow "
        "computes, but not for several machines",
    )
    if several_machines:
        tf.config.set_visible_devices(found[:count], kind)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(count)])
    machines = strategy.num_replicas_in_sync // count

    def gather(value):
        def all_values():
            return tf.distribute.get_replica_context().all_gather(tf.constant([value]), 0)

        return strategy.experimental_local_results(strategy.run(all_values))[0].numpy().tolist()

    return Devices(
        count=strategy.num_replicas_in_sync,
        machines=machines,
        machine=strategy.cluster_resolver.task_id if machines > 1 else 0,
        scope=strategy.scope,
        gather=gather,
    )


def _jax_devices(count):
    import jax
    from jax.experimental import multihost_utils

    if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ and not jax.distributed.is_initialized():
        keras.distribution.initialize()
    machines = range(jax.process_count())
    of_machines = [[d for d in jax.devices() if d.process_index == machine] for machine in machines]
    _check_count(
        count,
        min(map(len, of_machines)),
        jax.devices()[0].platform.upper(),
        f"XLA_FLAGS=--xla_force_host_platform_device_count={count} makes so many of one, for tests",
    )
    distribution = keras.distribution.DataParallel(
        devices=[f"{device.platform}:{device.id}" for found in of_machines for device in found[:count]],
        auto_shard_dataset=False,  # it takes nothing but tf.data; `Devices.share` does it
    )
    return Devices(
        count=count * len(machines),
        machines=len(machines),
        machine=jax.process_index(),
        scope=distribution.scope,
        gather=lambda value: multihost_utils.process_allgather(np.array([value])).ravel().tolist(),
    )


def _check_count(count, found, kind, hint):
    if count > found:
        raise ValueError(
            f"devices={count}, but Keras's {backend.name} backend finds {found} {kind} "
            f"device{'s' * (found != 1)} on this machine. Give at most {found}"
            + (f"; {hint}." if kind == "CPU" else ", or make more visible (CUDA_VISIBLE_DEVICES).")
        )


class _Part(keras.utils.PyDataset):
    """One machine's part of every batch."""

    def __init__(self, batches, machine, machines):
        super().__init__()
        self.batches, self.machine, self.machines = batches, machine, machines

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        def part(array):
            size = len(array) // self.machines
            return array[self.machine * size : (self.machine + 1) * size]

        return keras.tree.map_structure(part, self.batches[index])

    def on_epoch_end(self):
        self.batches.on_epoch_end()
