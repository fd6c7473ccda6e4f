"""`from_preset`, by which users of Keras load pretrained models."""

from typing import Any, Self

from flowzoo.types import PathLike


class Presets:
    """What `flowzoo.Flow` and `flowzoo.FlowVAE` offer users of KerasHub."""

    @classmethod
    def from_preset(cls, preset: PathLike, load_weights: bool = True, **kwargs: Any) -> Self:
        """A pretrained model, as `flowzoo.load` gives it, that is of this class or of one below it.

        Arguments:
            preset: one of `flowzoo.list_models()`, a model's folder, or "hf://user/model".
            load_weights: False for the bare architecture with new weights.
            kwargs: `dtype` and arguments of the class, as of `flowzoo.load`.

        Raises: ValueError for a preset of another class; RegistryError, a ValueError, as `flowzoo.load`.

        Example:
            >>> flow = flowzoo.Flow.from_preset("realnvp-moons", load_weights=False)
            >>> type(flow) is flowzoo.RealNVP
            True
        """
        import flowzoo  # whose registry stands above the models

        name = flowzoo.info(preset)["class"]
        if name in flowzoo.models.__all__ and not issubclass(getattr(flowzoo, name), cls):
            raise ValueError(
                f"{str(preset)!r} is a flowzoo.{name}, and no flowzoo.{cls.__name__}. Load it with "
                f"flowzoo.{name}.from_preset({str(preset)!r}), or with flowzoo.load({str(preset)!r})."
            )
        return flowzoo.load(preset, weights=load_weights, **kwargs)
