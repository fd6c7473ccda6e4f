"""Types of the models' arguments, by which the registry holds a `model.json` against a constructor.

`int` stands for a positive number of things, `float` for one from 0, `str` for a name of a choice.
"""

from typing import NewType

Whole = NewType("Whole", int)  # 0, 1, 2 and so on
Network = NewType("Network", dict)  # a Keras layer, or what `keras.saving.serialize_keras_object` makes of it
PerLevel = NewType("PerLevel", tuple)  # a positive number for each scale of images
Shape = int | tuple[int, ...]  # the sizes of axes, or widths of layers; an integer stands for one
Places = NewType("Places", tuple)  # places of a vector, from 0
