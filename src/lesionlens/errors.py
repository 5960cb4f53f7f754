"""What can go wrong, as exceptions that a user can act on.

Libraries raise these; only the command line turns them into a line of text and
an exit code. A message names the file, what is wrong with it, and what is
accepted instead.
"""


class LesionLensError(Exception):
    """Base of every error that LesionLens raises on purpose."""


class ImageError(LesionLensError):
    """An image cannot be read, or is not one that LesionLens accepts."""


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


class MissingExtraError(LesionLensError):
    """A verb needs a package that belongs to an extra that is not installed."""

    def __init__(self, verb: str, extra: str, package: str) -> None:
        super().__init__(
            f"{verb} needs {package}, which is not installed: pip install 'lesionlens[{extra}]'"
        )
        self.extra = extra
