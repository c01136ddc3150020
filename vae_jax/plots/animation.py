"""Images one after the other."""

import io

import numpy as np
from jaxtyping import Float
from PIL import Image

_LEAST_HEIGHT = 224
"""Of a frame on the screen; smaller images are enlarged by a whole number."""


def gif(images: Float[np.ndarray, "frame height width"], *, seconds_per_frame: float) -> bytes:
    """A film that begins anew when it ends.

    Args:
        images: pixels in [0, 1].
        seconds_per_frame: in steps of 0.01 s, which is what the format has.

    Returns:
        The content of a GIF file.
    """
    scale = -(-_LEAST_HEIGHT // images.shape[1])
    levels = np.round(255 * images).astype(np.uint8)
    first, *others = map(Image.fromarray, levels.repeat(scale, axis=1).repeat(scale, axis=2))
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=round(1000 * seconds_per_frame),
        loop=0,
    )
    return buffer.getvalue()
