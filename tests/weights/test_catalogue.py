from __future__ import annotations

import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from t2t_vit.errors import UnknownModelError
from t2t_vit.weights.catalogue import CATALOGUE, find_weights, pretrained

# From the table of configs/t2t_vit in MMPretrain 1.2.0.
PUBLISHED = {
    "t2t-vit-t-14_8xb64_in1k": ("t2t_vit_t_14", 21.47, 4.34, 81.83, 95.84),
    "t2t-vit-t-19_8xb64_in1k": ("t2t_vit_t_19", 39.08, 7.80, 82.63, 96.18),
    "t2t-vit-t-24_8xb64_in1k": ("t2t_vit_t_24", 64.00, 12.69, 82.71, 96.09),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_are_those_of_the_page(name):
    entry = pretrained(name)
    assert (entry.model, entry.params_m, entry.macs_g, entry.top1, entry.top5) == PUBLISHED[name]


def test_first_published_file_is_where_the_page_says():
    assert pretrained("t2t-vit-t-14_8xb64_in1k").url == (
        "https://download.openmmlab.com/mmclassification/v0/t2t-vit/t2t-vit-t-14_8xb64_in1k_20211220-f7378dd5.pth"
    )


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_entry_can_be_fetched_and_checked(entry):
    assert urlsplit(entry.url).scheme == "https"
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8,64}", entry.sha256)
    assert 0 < entry.crop_pct <= 1
    assert find_weights(entry.full_name) is entry
    assert entry.classes is None or len(entry.classes) == entry.num_classes
    assert CATALOGUE[entry.name] is entry


def test_unknown_name_names_the_nearest():
    with pytest.raises(UnknownModelError, match=r"'t2t-vit-t-14_8xb64_in1k'"):
        pretrained("t2t-vit-t-14_8xb64_in1")


def test_architecture_stands_for_its_first_weights():
    weights = find_weights("t2t_vit_t_19")
    assert weights is not None
    assert weights.name == "t2t-vit-t-19_8xb64_in1k"
    assert find_weights("t2t_vit_7000") is None


def test_looking_up_and_fetching_import_neither_torch_nor_rich():
    code = (
        "import sys; import t2t_vit.weights.catalogue, t2t_vit.weights.download; "
        "print([name for name in ('torch', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
