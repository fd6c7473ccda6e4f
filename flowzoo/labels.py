"""Flows whose context is a class label."""

import numpy as np
from keras import ops

from flowzoo.compiled import in_batches, one_each
from flowzoo.types import ArrayLike, Seed, Tensor


class Labels:
    """What a flow p(x | y) of classes y answers by its labels: a part of `flowzoo.Flow`.

    `classes` is how many there are, None for flows without.
    """

    unlabelled = False  # whether the label -1 stands for no class

    def class_log_probs(
        self,
        x: ArrayLike,
        *,
        num_importance_samples: int | None = None,
        seed: Seed = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The log-probability of each class given `x`, in nats, all classes being as frequent.

            log p(y | x) = log p(x | y) - log sum_k p(x | k)

        The flow as a Bayes classifier; the densities of all classes see the same dequantisation noise. It
        takes as many passes as there are classes, times the importance samples.

        Arguments:
            x: (batch, *event_shape).
            num_importance_samples: of each density of an image flow, as in `log_prob`; None for one draw.
            seed: draws the dequantisation noise of an image flow.
            batch_size: how many examples are computed at a time, None for all at once.

        Returns: tensor (batch, classes).
        Raises: ValueError for a flow without classes.

        Example:
            >>> flow = flowzoo.Glow((4, 4, 1), levels=1, steps=1, hidden_channels=4, classes=3)
            >>> log_probs = flow.class_log_probs(np.zeros((5, 4, 4, 1)), seed=0)
            >>> tuple(log_probs.shape), np.exp(log_probs[0]).sum().round(4).item()
            ((5, 3), 1.0)
        """
        if not self.classes:
            raise ValueError(
                f"{self.name} has no classes. Build it with classes=, which flowzoo.Glow and flowzoo.TarFlow "
                "take, and train it on pairs of examples and labels."
            )
        self._check_importance_samples(num_importance_samples)
        key, (x, _) = self._noise_key(seed), self._examples(x, np.zeros(1))

        def of_classes(start, x):
            labels = (ops.full_like(one_each(x), y) for y in range(self.classes))
            densities = [
                self._density_of_batch(1.0, x, label, key, start, num_importance_samples) for label in labels
            ]
            return ops.log_softmax(ops.stack(densities, axis=-1), axis=-1)

        return in_batches(of_classes, (x,), batch_size)

    def _check_context(self, labels):
        """Refuses labels that are no classes, where their values can be seen."""
        if not self.classes or ops.is_tensor(labels):
            return
        known = np.arange(-1 if self.unlabelled else 0, self.classes)
        if not np.isin(labels, known).all():
            none = ", or -1 for none" if self.unlabelled else ""
            raise ValueError(
                f"Labels must be integers from 0 to {self.classes - 1}{none}; got values from {labels.min()} "
                f"to {labels.max()}."
            )
