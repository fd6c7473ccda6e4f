"""What a training computes with, in words."""

import os
import platform

from flowzoo import backend


def hardware(devices=None):
    """One line on what this machine, or several `Devices`, compute with.

    Example:
        >>> " CPU core" in hardware() or flowzoo.backend.has_gpu()
        True
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = f"{count} CPU core{'s' * (count > 1)} ({platform.machine()})"
    found = _accelerators()
    if devices is None or devices.count == 1:
        return ", ".join(found) or cores
    each = devices.count // devices.machines
    line = f"{each} of {', '.join(found)}" if found else f"{each} CPU device{'s' * (each > 1)} of {cores}"
    return f"{devices.machines} machines with {line}" if devices.machines > 1 else line


def _accelerators():
    if backend.name == "jax":
        import jax

        return [device.device_kind for device in jax.local_devices() if device.platform != "cpu"]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
