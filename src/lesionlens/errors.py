"""What can go wrong, as exceptions that a user can act on.

Libraries raise these; only the command line turns them into a line of text and
an exit code. A message names the file, what is wrong with it, and what is
accepted instead.
"""

#: Why an image is not used: it cannot be read, for a cause that is not known or not common; it has
#: no bytes; is cut off; is no image, or one of a kind that is not accepted; has several frames; has
#: too few pixels, or too many; the part of it that was asked for has too few.
IMAGE_REASONS: tuple[str, ...] = (
    "unreadable",
    "empty",
    "truncated",
    "not_an_image",
    "heic",
    "gif",
    "dicom",
    "pdf",
    "animated",
    "too_small",
    "too_large",
    "part_too_small",
)


class LesionLensError(Exception):
    """Base of every error that LesionLens raises on purpose."""


class ImageError(LesionLensError):
    """An image cannot be read, or is not one that LesionLens accepts.

    ``reason`` is one of ``IMAGE_REASONS``: what a face that speaks other languages goes by.
    """

    def __init__(self, message: str, *, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


class BundleError(LesionLensError):
    """A model bundle is missing, damaged, or of a version this code cannot read."""


class DataError(LesionLensError):
    """An archive, a split, a cache or a prediction table is unusable as it stands."""


class LeakageError(DataError):
    """A lesion, a patient or a near-duplicate stands on both sides of a split."""


class FetchError(LesionLensError):
    """The image archive did not deliver what was asked of it."""


class TrainingError(LesionLensError):
    """Training, conversion or its parity check could not be completed."""


class HistoryError(LesionLensError):
    """The history of scans cannot be opened, read or written, or will not hold what it is told."""


class MissingExtraError(LesionLensError):
    """A verb needs a package that belongs to an extra that is not installed."""

    def __init__(self, verb: str, extra: str, package: str) -> None:
        super().__init__(
            f"{verb} needs {package}, which is not installed: pip install 'lesionlens[{extra}]'"
        )
        self.extra = extra
