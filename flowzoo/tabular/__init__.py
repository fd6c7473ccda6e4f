"""Tables in, tables out: densities, samples and imputation of data frames, by flows.

`TableFlow` is a scikit-learn estimator. It needs scikit-learn, pandas and narwhals:
pip install "flowzoo[tables]".
"""

try:
    import narwhals  # noqa: F401
    import pandas  # noqa: F401
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'flowzoo.tabular needs {error.name}, which is not installed: pip install "flowzoo[tables]".'
    ) from error

from flowzoo.tabular.estimator import TableFlow
from flowzoo.tabular.schema import Column, Schema

__all__ = ["Column", "Schema", "TableFlow"]
