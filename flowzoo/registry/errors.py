"""The error of the registry."""


class RegistryError(ValueError):
    """A pretrained model that is unknown, out of reach, damaged or not to be trusted."""


class Unavailable(RegistryError):
    """A place that does not have a file, so that the next one is asked."""
