"""Images and sound files as inputs: decoded to what the signature takes.

Their libraries are the extra `media`. Where an input takes strings, the file itself is given.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from savedmodel.cli.arguments import CommandError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from savedmodel.specs import TensorSpec

IMAGES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"])
SOUNDS = frozenset([".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav"])

# Those of Pillow's formats that are nothing but pixels: it has Ghostscript read others.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_MAX_SAMPLES = 1 << 28  # Of a sound file, over all channels.

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MAX_CHANNELS = 8  # The last size of an input for sound that is more is a number of samples.


def read_image(path: Path, spec: TensorSpec, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return an image as (1, height, width, channels), or of rank 3 without the 1.

    It is resized to the sizes that `spec` has, and has its channels: 1, 3 or 4, else 3. Integers
    are 0 to 255; floats are 0 to 1, as tf.image.convert_image_dtype makes them.
    """
    import numpy as np

    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise _missing("Pillow", path) from None
    rank = 4 if spec.shape is None else len(spec.shape)
    if rank not in (3, 4) or dtype.kind not in "iuf" or dtype == np.int8:
        raise CommandError(
            f"{path}: an image is an input of numbers of rank 3 or 4; '{spec.name}' is {spec}"
        )
    height, width, channels = (None, None, None) if spec.shape is None else spec.shape[-3:]
    mode = _MODES.get(3 if channels is None else channels)
    if mode is None:
        raise CommandError(f"{path}: an image has 1, 3 or 4 channels; '{spec.name}' is {spec}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # One that unpacks to more than a screen could ever show is refused.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as opened:
                image = ImageOps.exif_transpose(opened).convert(mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CommandError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise
    except Exception as error:
        # Broken files make Pillow's decoders raise anything.
        raise CommandError(f"{path}: no image that can be read: {error}") from None
    size = (width or image.width, height or image.height)
    if size[0] * size[1] > (Image.MAX_IMAGE_PIXELS or 0):
        raise CommandError(f"{path}: '{spec.name}' takes an image of {size[0]} x {size[1]} pixels")
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(size[1], size[0], -1)
    scaled = pixels / np.float32(255) if dtype.kind == "f" else pixels
    return (scaled[np.newaxis] if rank == 4 else scaled).astype(dtype)


def read_sound(path: Path, spec: TensorSpec, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the samples of a sound file, at its own rate.

    Rank 1: (samples,), all channels mixed. Rank 2: (samples, channels) where the last size is at
    most 8, else (1, samples), mixed. Rank 3: (1, samples, channels). Floats are -1 to 1; 16 and 32
    bit integers are whole samples.
    """
    import numpy as np

    try:
        import soundfile
    except (ImportError, OSError):
        raise _missing("soundfile", path) from None
    rank = 1 if spec.shape is None else len(spec.shape)
    kinds = {"f": "float32", "i": f"int{dtype.itemsize * 8}"}
    kind = kinds.get(dtype.kind)
    if rank not in (1, 2, 3) or kind not in ("float32", "int16", "int32"):
        raise CommandError(
            f"{path}: sound is an input of floats, int16 or int32 of rank 1 to 3; "
            f"'{spec.name}' is {spec}"
        )
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames * file.channels > _MAX_SAMPLES:
                raise ValueError(f"it claims {file.frames:,} samples")
            samples = file.read(dtype=kind, always_2d=True)
    except (MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise CommandError(f"{path}: no sound that can be read: {error}") from None
    last = spec.shape[-1] if spec.shape else None
    if rank == 1 or last == 1 or (rank == 2 and (last is None or last > _MAX_CHANNELS)):
        samples = samples.mean(axis=1, keepdims=True)
    if rank == 1 or (rank == 2 and (last is None or last > _MAX_CHANNELS)):
        samples = samples[:, 0]
    shaped = samples if rank == samples.ndim else samples[np.newaxis]
    converted: npt.NDArray[Any] = shaped.astype(dtype)
    return converted


def _missing(library: str, path: Path) -> CommandError:
    return CommandError(f"{path}: reading it needs {library}: pip install 'savedmodel[media]'")
