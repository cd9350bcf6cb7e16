"""What is told of photographs is what the shipped model says of them."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from t2t_vit import ImageClassificationInferencer
from t2t_vit.hub import DEFAULT_MODEL

LOG = Path(__file__).parents[2] / "study" / "logs" / "photographs.jsonl"
RECORDS = [json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def inferencer():
    return ImageClassificationInferencer()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: Path(record["picture"]).stem)
def test_a_photograph_gets_the_scores_that_are_told(record, inferencer):
    package, _, file = record["picture"].partition("/")
    if not find_spec(package):
        pytest.skip(f"{package} is not installed, which has the photograph {file}")
    with files(package).joinpath(file).open("rb") as stream, Image.open(stream) as picture:
        (prediction,) = inferencer(picture.convert("RGB"))

    scores = dict(zip(inferencer.classes, 100 * prediction["pred_scores"], strict=True))
    assert record["model"] == DEFAULT_MODEL
    assert sorted(scores, key=scores.get)[-1] == record["best"][0][0]
    for name, score in record["best"]:
        assert scores[name] == pytest.approx(score, abs=0.5)
