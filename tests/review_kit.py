"""Runs to review: drawn rows of any number, written as a run writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lesionlens.files import write_json
from lesionlens.labels import IN_SCOPE
from lesionlens.screening.items import results_schema
from lesionlens.verdicts import VERDICTS


def write_run(
    folder: Path, names: list[str], *, seed: int = 7, size_px: tuple[int, int] = (600, 450)
) -> Path:
    """Write the run folder of images of these names, with answers that are drawn at random."""
    rng = np.random.default_rng(seed)
    n = len(names)
    shares = rng.dirichlet((0.7, 0.4, 1.2), n)
    scope = rng.beta(3, 1, n)
    labels = [IN_SCOPE[place].value for place in shares.argmax(axis=1)]
    sets = ["|".join(label.value for label, p in zip(IN_SCOPE, row, strict=True) if p > 0.25)
            for row in shares]  # fmt: skip
    verdicts = [VERDICTS[place] for place in rng.choice(4, n, p=(0.55, 0.3, 0.1, 0.05))]
    quality = ["" if kind else "blur|glare" for kind in rng.random(n) > 0.08]
    columns = {
        "uri": names,
        "sha256": [f"{row:064x}" for row in range(n)],
        "verdict": verdicts,
        "label": labels,
        **{f"probability_{label.value}": shares[:, i] for i, label in enumerate(IN_SCOPE)},
        "scope": scope,
        "risk": scope * (shares[:, 0] + shares[:, 1]),
        "prediction_set": sets,
        "quality": quality,
        "width_px": np.full(n, size_px[0], np.int32),
        "height_px": np.full(n, size_px[1], np.int32),
        "policy": ["balanced"] * n,
        "views": np.full(n, 10, np.int32),
        **{f"{stage}_ms": np.ones(n) for stage in ("read", "decode", "model", "judge", "elapsed")},
        "model_sha256": ["ab" * 32] * n,
        "chunk": np.zeros(n, np.int64),
    }
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).cast(results_schema())
    pq.write_table(table, folder / "results.parquet", row_group_size=4096)
    settings = {"model_sha256": "ab" * 32, "policy": "balanced", "views": 10, "keep": []}
    write_json(folder / "job.json", {"format": 1, "id": "0123456789abcdef", "settings": settings})
    write_json(folder / "summary.json", {"failed": 3})
    return folder
