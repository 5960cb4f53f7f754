"""Groups: what a split must not divide.

Photographs of one lesion, of one patient, a crop and the frame it was cut out of, and one
picture filed twice belong together, and so does whatever a chain of such links connects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lesionlens.records import Frame


def group_frames(
    frames: Sequence[Frame], duplicates: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """Return the group of every frame: what must not be divided by a split.

    Args:
        frames: all frames of the archive, those outside the split included: they may be the
            link between two that are in it.
        duplicates: pairs of image_ids that show the same picture.

    Returns:
        image_id -> group_id; the group is named after its first lesion, else its first
        patient, else its first image.
    """
    links = _Links()
    for frame in frames:
        links.join(("2image", frame.image_id), ("2image", frame.image_id))
        for kind, key in (
            ("0lesion", frame.lesion_id),
            ("1patient", frame.patient_id),
            ("2image", frame.parent_id),
        ):
            if key:
                links.join(("2image", frame.image_id), (kind, key))
    for first, second in duplicates:
        links.join(("2image", first), ("2image", second))
    names = links.names()
    return {
        frame.image_id: "{}:{}".format(*_name(names[links.root(("2image", frame.image_id))]))
        for frame in frames
    }


class _Links:
    """Union-find over (kind, id) nodes."""

    def __init__(self) -> None:
        self._parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(self, node: tuple[str, str]) -> tuple[str, str]:
        root = node
        while self._parents.setdefault(root, root) != root:
            root = self._parents[root]
        while node != root:  # shorten the way for the next who asks
            self._parents[node], node = root, self._parents[node]
        return root

    def join(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        self._parents[self.root(one)] = self.root(other)

    def names(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return the first node, in sorted order, of every root's tree."""
        first: dict[tuple[str, str], tuple[str, str]] = {}
        for node in sorted(self._parents):
            first.setdefault(self.root(node), node)
        return first


def _name(node: tuple[str, str]) -> tuple[str, str]:
    kind, key = node
    return kind[1:], key
