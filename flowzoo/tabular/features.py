"""What networks see of a table: encoded columns as numbers, categories one-hot."""

import numpy as np

FARTHEST = 8.0  # standard deviations, as far as networks see a number


class Features:
    """Turns encoded columns into features.

    A column gives the number 1, which a mask turns to 0 where the value is not to be seen, its
    standardised number, and a one-hot part if it is a category or a narrow integer.

    Arguments:
        columns: list of `Column`, none of them constant.
    """

    def __init__(self, columns):
        self.columns = columns
        self.classes = [class_count(column) for column in columns]
        sizes = [
            1 + (column.kind != "category") + classes
            for column, classes in zip(columns, self.classes, strict=True)
        ]
        self.column_of = np.repeat(np.arange(len(columns)), sizes)  # of each feature

    def __call__(self, encoded):
        """(n, columns) -> float32 (n, features); a missing value, NaN, has features of 0."""
        parts = []
        for i, column in enumerate(self.columns):
            values = encoded[:, i]
            there = np.isfinite(values)
            parts.append(there[:, None])
            if column.kind != "category":
                parts.append(np.where(there, np.clip(values, -FARTHEST, FARTHEST), 0)[:, None])
            if self.classes[i]:
                parts.append(classes_of(column, values)[:, None] == np.arange(self.classes[i]))
        return np.concatenate(parts, axis=1, dtype="float32")


def class_count(column):
    """How many values of a column have a probability of their own."""
    if column.kind == "category":
        return len(column.values)
    return int(column.values[1] - column.values[0]) + 1 if column.is_narrow else 0


def classes_of(column, encoded):
    """The places of encoded values among those that have a probability of their own; others are outside."""
    if column.kind == "category":
        return encoded
    return np.rint(encoded * column.scale + column.center - column.values[0])
