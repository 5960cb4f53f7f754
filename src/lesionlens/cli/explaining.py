"""Pictures of where the model looked: one an image, none over another or over a photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlens.cli.inputs import STDIN
from lesionlens.errors import LesionLensError

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier
    from lesionlens.records import Prediction

#: Bytes of an image's name that its picture's name keeps; file systems allow 255 in all.
_MAX_STEM = 180


class Pictures:
    """A folder that gets a picture for each of several images; safe to use from many threads.

    Args:
        directory: the folder; made if need be.
        files: the images as the command line named them, each once.

    Raises:
        LesionLensError: the folder cannot be made or written, or holds some of the images:
            pictures and photos would get mixed up there.
    """

    def __init__(self, directory: Path, files: Sequence[str]) -> None:
        self._directory = directory
        self._stems = unique_stems(files)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LesionLensError(
                f"{directory}: pictures cannot be written there ({error.strerror or error}); "
                "--explain needs a folder"
            ) from error
        if not os.access(directory, os.W_OK):
            raise LesionLensError(f"{directory}: pictures cannot be written there (read only)")
        here = directory.resolve()
        for file in files:
            if file != STDIN and Path(file).resolve().parent == here:
                raise LesionLensError(
                    f"{directory}: holds {Path(file).name}, which is to be explained; --explain "
                    "needs another folder than the photos'"
                )

    def explain(
        self, classifier: Classifier, file: str, source: str | bytes
    ) -> tuple[Prediction, str]:
        """Answer for an image and write its picture.

        Args:
            classifier: that answers.
            file: one of the files, as the command line named it.
            source: the same, or its bytes.

        Returns:
            The answer, and the path of the picture: ``<stem>-<label>.png`` in the folder.

        Raises:
            ImageError: the image cannot be read or is not accepted.
            LesionLensError: the picture cannot be written.
        """
        from lesionlens.imaging import load_picture
        from lesionlens.render import draw_explanation, save_picture

        explanation = classifier.explain(source)
        name = "standard input" if file == STDIN else Path(file).name
        picture = draw_explanation(load_picture(source), explanation, name=name)
        path = self._directory / f"{self._stems[file]}-{explanation.label}.png"
        save_picture(picture, path)
        return replace(explanation.prediction, file=file), os.fspath(path)


def unique_stems(files: Sequence[str]) -> dict[str, str]:
    """Return a name for each file, its own stem where no other has it, else with a number.

    Upper and lower case count as the same, as some file systems have it.
    """
    taken: set[str] = set()
    stems = {}
    for file in files:
        stem = "stdin" if file == STDIN else Path(file).stem
        while len(os.fsencode(stem)) > _MAX_STEM:
            stem = stem[:-1]
        unique, number = stem, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.casefold())
        stems[file] = unique
    return stems
