"""`list_models`, with MMPretrain's patterns."""

import pytest

from t2t_vit import list_models
from t2t_vit.weights.catalogue import CATALOGUE

NAMES_OF_T_24 = ["t2t_vit_t_24", "t2t_vit_t_24.mmpretrain_in1k", "t2t_vit_t_24.official_in1k"]
NAMES_OF_24 = [
    "t2t-vit-t-24_8xb64_in1k",
    "t2t_vit_24",
    "t2t_vit_24.official_in1k",
    "t2t_vit_24.official_token_labeling_in1k",
    *NAMES_OF_T_24,
]


def test_all_names_are_listed_sorted():
    names = list_models()

    assert names == sorted(names)
    assert {*CATALOGUE, "t2t_vit_t_14", "t2t_vit_t_19", "t2t_vit_t_24", "t2t-vit-digits_demo"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pattern": "t2t-vit-t-"}, [f"t2t-vit-t-{n}_8xb64_in1k" for n in (14, 19, 24)]),  # anything may follow
        ({"pattern": "*[-_]24", "exclude_patterns": "t2t-vit-24"}, NAMES_OF_24),
        (
            {"pattern": "t2t?vit?t?14"},
            ["t2t-vit-t-14_8xb64_in1k", "t2t_vit_t_14", "t2t_vit_t_14.mmpretrain_in1k", "t2t_vit_t_14.official_in1k"],
        ),
        (
            {"pattern": "t2t_vit_t", "exclude_patterns": ["*19", "*24"]},
            ["t2t_vit_t_14", "t2t_vit_t_14.mmpretrain_in1k", "t2t_vit_t_14.official_in1k"],
        ),
        ({"pattern": "t2t_vit_t", "exclude_patterns": "*_1"}, NAMES_OF_T_24),
        ({"pattern": "*t?24", "exclude_patterns": "t2t-vit-24", "task": "Image Classification"}, NAMES_OF_24),
        ({"task": "Image Retrieval"}, []),
        ({"pattern": "resnet"}, []),
    ],
    ids=str,
)
def test_patterns_choose_and_exclude_as_in_mmpretrain(arguments, expected):
    assert list_models(**arguments) == expected
