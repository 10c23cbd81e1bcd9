"""WAV files: 8, 16, 24 and 32 bits, whole numbers and floats; scipy decodes what has been checked here."""

from __future__ import annotations

import math
import struct
import warnings
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from neurofdfa.errors import UserError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
FORM = "convert it to WAV with 8, 16, 24 or 32 bits, or floats"


class WavHeader(NamedTuple):
    """What a WAV file says of itself. rate: samples a second. frames: samples of each channel."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """How long the sound is."""
        return self.frames / self.rate


def read_wav_header(path: Path) -> WavHeader:
    """Read how long a WAV file is, without its sound.

    Raises `UserError`, with the file's name, for what is no WAV file, is cut off, or promises more than it
    holds.
    """
    try:
        with open(path, "rb") as file:
            return _header(path, file, path.stat().st_size)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def read_wav(path: Path, rate: int | None = None) -> NDArray[np.float64]:
    """Read the sound of a WAV file `[L]`, full scale ±1; channels are mixed down to their mean.

    rate: samples a second that the result has; a file of another rate is resampled (None: it stays). Raises
    `UserError`, with the file's name, for what cannot be read.
    """
    header = read_wav_header(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that it does not know
            decode = cast(Any, wavfile.read)  # pyright: ignore[reportUnknownMemberType]
            raw: NDArray[Any] = decode(path)[1]
    except (ValueError, OSError, EOFError, struct.error, MemoryError) as error:
        raise UserError(f"{path} cannot be decoded ({error}); {FORM}") from error
    sound: NDArray[np.float64]
    if raw.dtype == np.uint8:
        sound = (raw.astype(np.float64) - 128.0) / 128.0
    elif np.issubdtype(raw.dtype, np.integer):
        sound = raw.astype(np.float64) / -float(np.iinfo(raw.dtype).min)
    else:
        sound = raw.astype(np.float64)
    if not bool(np.isfinite(sound).all()):
        raise UserError(f"{path} contains NaN or infinity; write the file again")
    sound = sound if sound.ndim == 1 else sound.mean(axis=1)
    if rate is not None and rate != header.rate:
        from scipy.signal import resample_poly  # pyright: ignore[reportUnknownVariableType]

        common = math.gcd(rate, header.rate)
        sound = resample_poly(sound, rate // common, header.rate // common)
    return sound


def _header(path: Path, file: BinaryIO, size: int) -> WavHeader:
    start = file.read(12)
    if len(start) < 12 or start[:4] not in (b"RIFF", b"RIFX", b"RF64") or start[8:] != b"WAVE":
        raise UserError(f"{path} is not a WAV file; {FORM}")
    order = ">" if start[:4] == b"RIFX" else "<"
    layout: tuple[int, ...] | None = None
    while len(chunk := file.read(8)) == 8:
        name, length = chunk[:4], int(struct.unpack(order + "I", chunk[4:])[0])
        if name == b"ds64":
            raise UserError(f"{path} is a WAV file of the 64-bit kind; {FORM}")
        if name == b"fmt ":
            body = file.read(min(length, 40))
            if len(body) < 16:
                break
            layout = struct.unpack(order + "HHIIHH", body[:16])
            file.seek(length - len(body) + length % 2, 1)
        elif name == b"data":
            if layout is None:
                break
            if length > size - file.tell():
                raise UserError(
                    f"{path} is cut off: it promises {length} bytes of sound and holds {size - file.tell()}"
                )
            return _checked(path, layout, length)
        else:
            file.seek(length + length % 2, 1)
    raise UserError(f"{path} is cut off or damaged: it has no sound in it")


def _checked(path: Path, layout: tuple[int, ...], length: int) -> WavHeader:
    kind, channels, rate, _, align, bits = layout
    if kind not in (PCM, FLOAT, EXTENSIBLE):
        raise UserError(f"{path} is compressed (WAV format {kind}); {FORM}")
    if bits not in (8, 16, 24, 32, 64) or not channels or not rate or align != channels * bits // 8:
        raise UserError(
            f"{path} has {channels} channels of {bits} bits at {rate} Hz in {align} bytes; {FORM}"
        )
    if length < align:
        raise UserError(f"{path} is empty: it has no sample of sound")
    return WavHeader(rate, channels, length // align)
