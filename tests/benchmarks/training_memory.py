"""Peak memory and time of a training step of Glow, with and without remat: python training_memory.py"""

import resource
import subprocess
import sys

LEVELS, SIZE = 3, 64


def measure(steps, remat, hidden_channels=512, batch_size=16):
    """Prints the gigabytes that training steps add at their peak, and the processor seconds of one."""
    import time

    import keras
    import numpy as np

    import flowzoo

    flow = flowzoo.Glow(
        event_shape=(SIZE, SIZE, 3), levels=LEVELS, steps=steps, hidden_channels=hidden_channels, remat=remat
    )
    flow.compile(optimizer=keras.optimizers.Adam(1e-4))
    flow._build_optimizer()
    images = np.random.default_rng(0).integers(0, 256, (batch_size, SIZE, SIZE, 3)).astype("uint8")
    flow.initialize(images[:1])
    before = peak()
    flow.train_on_batch(images)
    start = time.process_time()
    flow.train_on_batch(images)
    print(f"{peak() - before:.2f} {time.process_time() - start:.1f}")


def peak():
    """The largest resident memory of this process so far, in gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    print("| steps a level | memory | with remat | time | with remat |\n|---|---|---|---|---|")
    for steps in (8, 16, 32):
        rows = []
        for remat in (False, True):
            command = [sys.executable, __file__, str(steps), str(remat)]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            rows.append([float(value) for value in found[-2:]])
        (memory, seconds), (less, longer) = rows
        print(f"| {steps} | {memory:.1f} GB | {less:.1f} GB | {seconds:.0f} s | {longer:.0f} s |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), sys.argv[2] == "True")
    else:
        main()
