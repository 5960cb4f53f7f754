"""Arguments and options that several verbs have, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Where the cache goes if nobody says otherwise.
DEFAULT_CACHE = Path("cache")

ArchiveArgument = Annotated[
    Path, typer.Argument(help="Archive folder: metadata.csv and images/.", show_default=False)
]
NormalsOption = Annotated[
    Path | None, typer.Option(help="Folder of healthy-skin crops, if not ARCHIVE/normal.")
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="A bundle folder; without it $LESIONLENS_MODEL, else the shipped model.",
        show_default=False,
    ),
]
ViewsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=10,
        help="Views averaged per image: 1 is fastest, 10 steadiest; without it what the model "
        "advises.",
        show_default=False,
    ),
]
GateOption = Annotated[
    bool,
    typer.Option(
        help="Refuse photos that are too blurred, dark, small... to be judged; --no-gate judges "
        "them anyway and still says what is wrong with them."
    ),
]
PolicyOption = Annotated[
    str,
    typer.Option(
        help="How cautiously to judge: `balanced` (90 % of the images of a class keep it in "
        "their prediction set) or `sensitive` (95 %: fewer cancers are sent away as out of scope, "
        "more of everything else is called uncertain).",
    ),
]
