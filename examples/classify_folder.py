"""Classify every image of a folder and list those whose answer one may rely on.

    python examples/classify_folder.py photos/

The model is loaded once. A file that is no image is told and does not stop the others.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lesionlens import Classifier, LesionLensError
from lesionlens.imaging import SUFFIXES


def main(folder: str) -> None:
    """Print a line for every image of the folder."""
    classifier = Classifier()
    files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)
    for file in files:
        try:
            answer = classifier.predict(file)
        except LesionLensError as error:
            print(error, file=sys.stderr)
            continue
        scope = "" if answer.scope is None else f", in scope {answer.scope:.0%}"
        print(f"{file.name}: {answer.label} {answer.probability:.0%}{scope}, {answer.verdict}")
    print("Not a diagnosis.", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
