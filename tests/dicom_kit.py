"""Drawn DICOM files of every encoding, and what must never be found in an output."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    generate_uid,
)

#: A patient that is nobody; none of these words stands in any output that was not asked for it.
PATIENT = {
    "PatientName": "Zyxwvut^Qwertina",
    "PatientID": "MRN-90817263",
    "PatientBirthDate": "19530217",
    "AccessionNumber": "ACC5544332211",
}
DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"
PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make(
    path: Path,
    pixels: np.ndarray | list[bytes],
    *,
    syntax: str = ExplicitVRLittleEndian,
    size_px: tuple[int, int] | None = None,
    storage: str = DERMOSCOPIC,
    **attributes: Any,
) -> Path:
    """Write a DICOM file.

    Args:
        path: where to.
        pixels: an array as stored, of all frames, or the encoded frames.
        syntax: how it is written; ``pixels`` have to be as it says.
        size_px: width and height, of encoded frames.
        storage: SOP class.
        attributes: by keyword; None leaves one out.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[str(path)]
    )
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    dataset.Modality = "DMS"
    dataset.StudyID = "1"
    dataset.StudyDate, dataset.StudyTime = "20240229", "101500"
    dataset.ReferringPhysicianName = "Zyxreferrer^Doc"
    dataset.PatientSex = "F"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, value)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.PixelRepresentation = 0
    if isinstance(pixels, np.ndarray):
        n_bits = pixels.dtype.itemsize * 8
        width, height = size_px or (pixels.shape[-2], pixels.shape[-3])
        order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
        content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = content + b"\0" * (len(content) % 2)
    else:
        n_bits = 8
        width, height = size_px or Image.open(io.BytesIO(pixels[0])).size
        dataset.PixelData = encapsulate(pixels)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        if len(pixels) > 1:
            dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = height, width
    dataset.BitsAllocated = dataset.BitsStored = n_bits
    dataset.HighBit = n_bits - 1
    if "PixelData" in dataset and isinstance(pixels, np.ndarray):
        dataset["PixelData"].VR = "OW" if n_bits > 8 else "OB"
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def of_jpeg(path: Path, jpeg: bytes, **more: Any) -> Path:
    """Write a DICOM file that embeds a JPEG, as a camera's software does."""
    more = {"PhotometricInterpretation": "YBR_FULL_422", **more}
    return make(path, [jpeg], syntax=JPEGBaseline8Bit, **more)


def of_jpeg2000(
    path: Path, image: Image.Image, *, syntax: str = JPEG2000Lossless, **more: Any
) -> Path:
    is_lossy = syntax != JPEG2000Lossless
    options = {"quality_layers": [20], "irreversible": True} if is_lossy else {}
    stream = encoded(image, "JPEG2000", no_jp2=True, mct=1, **options)
    colours = "YBR_ICT" if is_lossy else "YBR_RCT"
    return make(path, [stream], syntax=syntax, PhotometricInterpretation=colours, **more)
