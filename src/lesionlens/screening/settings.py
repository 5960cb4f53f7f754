"""What a run is of: the settings that make its rows what they are, and its part of a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lesionlens import __version__
from lesionlens.errors import LesionLensError
from lesionlens.screening.items import ERROR_COLUMNS, SCHEMA_VERSION, column_names
from lesionlens.screening.places import is_url, public_url

if TYPE_CHECKING:
    from lesionlens.bundle import Bundle


@dataclass(frozen=True)
class Settings:
    """What makes rows what they are; of another value in any of these, another run."""

    sources: tuple[str, ...]  # absolute paths; addresses without what lets one in
    model_sha256: str  # of model.tflite
    spec_sha256: str  # of what model.json says: temperatures, thresholds
    policy: str
    views: int
    gate: bool
    keep: tuple[str, ...] = ()  # columns of a source's table that are carried along
    shard: str = ""  # "2/8": the second of eight parts; empty: the whole
    schema: int = SCHEMA_VERSION
    lesionlens: str = __version__  # which pixel path

    def as_json(self) -> dict[str, Any]:
        """Return the settings as ``job.json`` has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def make_settings(
    bundle: Bundle,
    sources: Iterable[str],
    *,
    policy: str,
    views: int | None = None,
    gate: bool = True,
    keep: Iterable[str] = (),
    shard: Shard | None = None,
) -> Settings:
    """Return the settings of a run.

    Args:
        bundle: the model.
        sources: as typed; paths are made absolute. Of an address the user, the password and the
            signature are left out: others read run folders, and a signature that has run out is
            given anew.
        policy: one of ``verdicts.POLICIES``.
        views: views averaged per image; None takes the bundle's own number.
        gate: whether poor photos are told so instead of being judged.
        keep: columns of a source's table that are carried along.
        shard: which part of the sources.

    Raises:
        LesionLensError: the bundle has no such policy, ``views`` is out of range, or a column
            to keep has a name that results use themselves.
    """
    import hashlib
    import json

    from lesionlens.views import check_views

    bundle.spec.policy(policy)
    keep = tuple(keep)
    taken = sorted({*column_names(), *ERROR_COLUMNS} & set(keep))
    if taken:
        raise LesionLensError(
            f"column {taken[0]!r}: cannot be carried along, as results have one of that name; "
            "rename it in the table"
        )
    spec = json.dumps(bundle.spec.as_json(), sort_keys=True).encode()
    return Settings(
        sources=tuple(map(_source, sources)),
        model_sha256=bundle.spec.sha256,
        spec_sha256=hashlib.sha256(spec).hexdigest(),
        policy=policy,
        views=check_views(bundle.spec.views if views is None else views),
        gate=gate,
        keep=keep,
        shard=str(shard) if shard else "",
    )


def _source(typed: str) -> str:
    if is_url(typed):
        return public_url(typed)
    return typed if typed == "-" else os.path.abspath(typed)


@dataclass(frozen=True)
class Shard:
    """One of several parts that together are the whole, told by name: the same on any machine."""

    index: int  # from 1
    n: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``text`` means, such as ``2/8``.

        Raises:
            LesionLensError: it means none.
        """
        index, _, n = text.partition("/")
        if not (index.isdecimal() and n.isdecimal() and 1 <= int(index) <= int(n)):
            raise LesionLensError(
                f"shard {text!r}: is not a part; write 2/8 for the second of eight, 1/8 to 8/8"
            )
        return cls(int(index), int(n))

    def __str__(self) -> str:
        return f"{self.index}/{self.n}"

    @property
    def folder(self) -> str:
        """Name of the run folder of this part inside OUT."""
        return f"shard-{self.index}-of-{self.n}"

    def has(self, key: int) -> bool:
        """Whether the item of this key belongs to the part."""
        return key % self.n == self.index - 1
