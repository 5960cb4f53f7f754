"""See what stands behind one answer: every output of the model, and what is made of them.

    python examples/joint_probabilities.py lesion.jpg

The model also knows lesions that are none of the three. ``joint`` runs over all of them and
sums to 1; an answer gives the three *on condition* that it is one of them, and ``scope``, the
probability that it is. Both are needed: 90 % BCC of a scope of 10 % is no BCC.
"""

from __future__ import annotations

import sys

from lesionlens import Classifier
from lesionlens.labels import FULL_NAMES, IN_SCOPE


def main(file: str) -> None:
    """Print every output, the answer, and how the views vote."""
    classifier = Classifier()
    joint = classifier.joint(file)  # (K,), in the order of spec.labels
    for probability, label in sorted(zip(joint, classifier.spec.labels, strict=True), reverse=True):
        mark = "*" if label in IN_SCOPE else " "
        print(f"{mark} {probability:6.1%}  {FULL_NAMES[label]}")

    answer = classifier.predict(file)
    print(f"\n{answer.label}: {answer.probability:.1%}, if it is one of the three (*)")
    if answer.scope is not None:
        together = answer.probability * answer.scope
        print(f"which it is with {answer.scope:.1%}; together {together:.1%}")
    threshold = classifier.spec.policy(answer.policy).confident_at_for(answer.views)
    print(f"it may be {' or '.join(answer.prediction_set) or 'none of the three'}")
    print(f"confident if it may be one only, and from {threshold:.1%}: {answer.verdict}")

    by_view = classifier.logits(file, views=10).argmax(axis=1)
    votes = sum(classifier.spec.labels[index] is answer.label for index in by_view)
    print(f"{votes} of 10 views (turned, mirrored, zoomed) have {answer.label} first by themselves")


if __name__ == "__main__":
    main(sys.argv[1])
