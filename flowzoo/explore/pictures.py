"""Arrays as PNG in the text of an address, and image files as the arrays that a model takes."""

import base64
import binascii
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 10**8  # of an image that is put in
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, UnidentifiedImageError)  # what Pillow raises


def data_url(array):
    """uint8 (H, W), (H, W, 1) or (H, W, 3) as "data:image/png;base64,…".

    Example:
        >>> from flowzoo.explore.pictures import data_url, opened
        >>> opened(data_url(np.zeros((2, 3, 1), "uint8"))).size
        (3, 2)
    """
    array = np.asarray(array, "uint8")
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def opened(url):
    """The image in an address "data:…;base64,…", turned as its camera was held.

    Raises: ValueError that says what is wrong with the file.
    """
    head, _, content = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise ValueError("An image must come as a file.")
    try:
        content = base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise ValueError("The image did not arrive whole; send it again.") from error
    if not content:
        raise ValueError("The file is empty.")
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(
                f"The image has {image.width} x {image.height} pixels, over {MOST_PIXELS / 1e6:.0f} million; "
                "make it smaller first."
            )
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError(
            "The file is no image of a known format, such as PNG, JPEG, GIF, WebP or TIFF."
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"The image is too large: {error}") from error
    except DAMAGED as error:
        raise ValueError(f"The image cannot be read: {str(error).rstrip('.')}.") from error


def fitted(image, shape, *, invert=False):
    """The middle of an image in a model's size and channels, (H, W, 1 or 3) uint8.

    Arguments:
        image: of Pillow, in any mode; what is transparent becomes white.
        shape: (H, W, C).
        invert: whether dark becomes light, such as for ink on paper.
    """
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):  # 16 bits, or numbers of any range
        values = np.asarray(image, "float64")
        low, high = values.min(), values.max()
        image = Image.fromarray(np.uint8(np.round(255 * (values - low) / max(high - low, 1e-12))))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if shape[2] == 1 else "RGB")
    image = ImageOps.fit(image, (shape[1], shape[0]), Image.Resampling.LANCZOS)
    array = np.asarray(ImageOps.invert(image) if invert else image)
    return array.reshape(shape)
