"""A DICOM file's header, read without believing it: which attributes, and where the pixels begin.

PS3.10 (https://dicom.nema.org/medical/dicom/current/output/html/part10.html) says how a file
begins, PS3.5 how attributes and pixels follow. Nothing that a file announces makes this code set
memory aside, and nothing that it says of a patient comes into a message.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from lesionlens.errors import ImageError
from lesionlens.screening.places import MAX_BYTES

if TYPE_CHECKING:
    from pydicom import Dataset

#: What tells a DICOM file, and where: PS3.10, 7.1.
MAGIC, MAGIC_AT = b"DICM", 128
DEFLATED = "1.2.840.10008.1.2.1.99"
#: Transfer syntaxes with pixels as they are: implicit, explicit, big endian, packed as a whole.
NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", DEFLATED})
#: Length of pixel data that is encapsulated: its end is found by a mark.
UNKNOWN_LENGTH = 0xFFFFFFFF
#: What a message ends with.
CURE = "save it again with a DICOM program, or export it as JPEG or PNG"

_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # as floats, as doubles, as whole numbers
#: What is read of a header: character set, SOP class, the image pixel module, offset tables.
_TAGS = (
    0x00080005, 0x00080016, 0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011,
    0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00281101, 0x00281102, 0x00281103, 0x00281201,
    0x00281202, 0x00281203, 0x7FE00001, 0x7FE00002,
)  # fmt: skip


@dataclass(frozen=True)
class DicomImage:
    """A DICOM image whose header is read."""

    uri: str
    header: Dataset
    syntax: str  # UID of the transfer syntax
    file: BinaryIO  # at the first byte of the pixel data
    length: int  # of the pixel data in bytes, as announced; UNKNOWN_LENGTH where encapsulated

    @property
    def n_frames(self) -> int:
        """Frames, as announced; 1 where nothing is."""
        return max(1, int(self.header.get("NumberOfFrames") or 1))

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame that is not encapsulated."""
        header = self.header
        bits = header.Rows * header.Columns * header.SamplesPerPixel * header.BitsAllocated
        # Of each two pixels, two brightnesses and one pair of colours: PS3.3, C.7.6.3.1.2.
        is_halved = header.PhotometricInterpretation == "YBR_FULL_422"
        return bits // 8 * 2 // 3 if is_halved else bits // 8


@cache
def library() -> Any:
    """Import pydicom and have it keep to itself what it warns of: that may be a patient's name."""
    try:
        import pydicom
    except ImportError as error:
        raise ImageError(
            "is DICOM, which is read by pydicom, and that is not installed: "
            "pip install 'lesionlens[dicom]'",
            reason="unsupported_format",
        ) from error
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    pydicom.config.logger.setLevel("CRITICAL")
    return pydicom


def read_header(
    file: BinaryIO, uri: str, keep: Sequence[str] = ()
) -> tuple[Dataset, DicomImage | None]:
    """Return the wanted attributes of a file, and the image; None where it has no pixels."""
    try:
        pydicom = library()
    except ImageError as error:
        raise ImageError(f"{uri}: {error}", reason=error.reason) from error
    from pydicom.filereader import read_dataset

    with explained(uri), pydicom.config.disable_value_validation():
        file.seek(MAGIC_AT)
        if file.read(len(MAGIC)) != MAGIC:
            raise ImageError(
                f"{uri}: is not a DICOM file: it has no DICM at byte {MAGIC_AT}",
                reason="not_an_image",
            )
        meta: Any = read_dataset(
            file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2
        )
        syntax = pydicom.uid.UID(meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
        if syntax == DEFLATED:
            file = _inflated(file, uri)
        more = [pydicom.datadict.tag_for_keyword(name) for name in keep]
        header = read_dataset(
            file,
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=lambda tag, vr, length: tag in _PIXEL_TAGS,
            specific_tags=[*_TAGS, *more],
        )
        header.file_meta = meta
        is_implicit, is_little = header.original_encoding  # as found, whatever was announced
        tag, length = _pixel_element(file, bool(is_implicit), bool(is_little))
    if tag != _PIXEL_TAGS[-1]:
        return header, None
    return header, DicomImage(uri, header, str(syntax), file, length)


def _inflated(file: BinaryIO, uri: str) -> BinaryIO:
    """Return the rest of a file unpacked; not more of it than an image may have."""
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    content = unpacking.decompress(file.read(), MAX_BYTES)
    if unpacking.unconsumed_tail:
        raise ImageError(
            f"{uri}: unpacks to more than the {MAX_BYTES / 1e6:,.0f} MB that an image may have",
            reason="too_large",
        )
    return io.BytesIO(content)


def _pixel_element(file: BinaryIO, is_implicit: bool, is_little: bool) -> tuple[int, int]:
    """Return tag and length of the element that begins here, which is left at its value."""
    order = "<" if is_little else ">"
    head = file.read(8)
    if len(head) < 8:
        return 0, 0
    group, element, length = struct.unpack(f"{order}HHL", head)
    if not is_implicit:
        (length,) = struct.unpack(f"{order}L", file.read(4))
    return group << 16 | element, length


def storage_of(header: Dataset) -> str:
    """Return the UID of the SOP class; empty where none is given, or none that can be read."""
    try:
        return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))
    except Exception:  # what is no value of its kind: pydicom converts it when it is asked for
        return ""


def name_of_uid(uid: str) -> str:
    """Return what the standard calls a UID; no other is told, as it may be any part of a file."""
    from pydicom.uid import UID_dictionary

    return UID_dictionary[uid][0] if uid in UID_dictionary else "of a kind that is not known"


def text_of(header: Dataset, keyword: str) -> str:
    """Return an attribute as a column has it; several values with a backslash between."""
    try:
        value = header.get(keyword)
    except Exception:  # what is no value of its kind, such as a date with letters
        return ""
    if value is None:
        return ""
    is_several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return "\\".join(map(str, value)) if is_several else str(value)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what is raised on damaged files into an ImageError, without a word out of the file."""
    try:
        yield
    except (ImageError, MemoryError, OSError):
        raise
    except Exception as error:  # whatever pydicom and its decoders think of
        raise ImageError(
            f"{uri}: is a damaged DICOM file ({type(error).__name__}); {CURE}"
        ) from error
