"""What is said about an image, as codes that other systems keep: for FHIR and for DICOM alike.

Own codes are used wherever a public one would say more than is meant. A verdict of a model is no
diagnosis, and DICOM's "Probability of cancer" (111047) would claim melanoma, too. SNOMED CT stands
beside our own code for the two cancers only, where one of them is named as the likeliest class;
docs/fhir.md says what confirmed its codes.
"""

from __future__ import annotations

from dataclasses import dataclass

from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

#: Names our codes, in FHIR by an address (nothing need be there) and in DICOM by a designator.
CODE_SYSTEM = "https://github.com/lesionlens/lesionlens/fhir/CodeSystem/screening"
DESIGNATOR = "99LESIONLENS"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"

#: In every document, in these words.
NOT_A_DIAGNOSIS = (
    "Not a diagnosis. Answer of a computer model for research and education, not verified by a "
    "person; the model knows basal cell carcinoma, squamous cell carcinoma and healthy skin, and "
    "does not look for melanoma."
)


@dataclass(frozen=True)
class Concept:
    """A code of ours."""

    code: str  # at most 16 characters, as DICOM has them
    display: str  # at most 64 characters


SCREENING = Concept("SCREENING", "Skin lesion screening by a computer model")
VERDICT = Concept("VERDICT", "Screening verdict")
LIKELIEST = Concept("LIKELIEST", "Likeliest class")
PREDICTION_SET = Concept("SET", "Classes that it may be")
QUALITY = Concept("QUALITY", "Finding about the photo")
SCOPE = Concept("SCOPE", "Probability that it is one of the three classes")
RISK = Concept("RISK", "Probability of basal or squamous cell carcinoma")
#: Of each class, given that the image shows one of the three.
PROBABILITIES: dict[Label, Concept] = {
    Label.BCC: Concept("P-BCC", "Probability of basal cell carcinoma, among the three"),
    Label.SCC: Concept("P-SCC", "Probability of squamous cell carcinoma, among the three"),
    Label.NORMAL: Concept("P-NORMAL", "Probability of healthy skin, among the three"),
}
CLASSES: dict[Label, Concept] = {
    label: Concept(label.value, FULL_NAMES[label]) for label in IN_SCOPE
}
VERDICTS: dict[str, Concept] = {
    CONFIDENT: Concept("confident", "Confident of the likeliest class"),
    UNCERTAIN: Concept("uncertain", "Uncertain: do not rely on it"),
    OUT_OF_SCOPE: Concept("out_of_scope", "Like none of the three classes"),
    POOR_IMAGE: Concept("poor_image", "Photo too poor to be judged"),
}
#: The same in SNOMED CT, of those that have one there.
IN_SNOMED: dict[Label, Concept] = {
    Label.BCC: Concept("254701007", "Basal cell carcinoma of skin"),
    Label.SCC: Concept("254651007", "Squamous cell carcinoma of skin"),
}

ALL: tuple[Concept, ...] = (
    SCREENING,
    VERDICT,
    LIKELIEST,
    PREDICTION_SET,
    QUALITY,
    SCOPE,
    RISK,
    *PROBABILITIES.values(),
    *CLASSES.values(),
    *VERDICTS.values(),
)


def names_a_class(verdict: str) -> bool:
    """Whether an answer with this verdict says which class is the likeliest."""
    return verdict in (CONFIDENT, UNCERTAIN)
