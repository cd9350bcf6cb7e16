"""From a file or a URL into a model: what fits, what is computed or drawn anew, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import logging

import pytest
import torch
from safetensors.torch import save_file

from t2t_vit import Experiment, get_model
from t2t_vit.config import Model, Preprocessing, experiment_to_json
from t2t_vit.errors import CheckpointError, ConfigError, DownloadError, HashMismatchError
from t2t_vit.models.position import resize_position_table, sinusoid_table
from t2t_vit.run.network import starting_network
from t2t_vit.weights import catalogue, load
from t2t_vit.weights.catalogue import CATALOGUE

NAME = "t2t-vit-t-14_8xb64_in1k"


@pytest.fixture
def published_14(t2t_vit_14_file, monkeypatch):
    """Have the catalogue say the hash of the stand-in for the published file; return the file."""
    sha256 = hashlib.sha256(t2t_vit_14_file.read_bytes()).hexdigest()
    entry = dataclasses.replace(CATALOGUE[NAME], sha256=sha256)
    monkeypatch.setattr(catalogue, "CATALOGUE", {**CATALOGUE, NAME: entry})
    return t2t_vit_14_file


@pytest.mark.parametrize("name", [NAME, "t2t_vit_t_14"])
def test_published_weights_come_from_a_mirror(name, published_14, serve, no_mirror, monkeypatch):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", serve(published_14.parent))

    model = get_model(name, pretrained=True)

    wanted = torch.load(published_14, weights_only=True)["state_dict"]
    assert torch.equal(model.head.weight, wanted["head.layers.head.weight"])
    assert torch.equal(model.blocks[13].mlp.fc2.bias, wanted["backbone.encoder.13.ffn.layers.1.bias"])
    assert [path.name for path in no_mirror.rglob("*.pth")] == [published_14.name]


def test_a_name_stands_for_its_published_weights_and_so_does_an_unchanged_architecture(
    published_14, no_mirror, monkeypatch
):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(published_14.parent))
    wanted = torch.load(published_14, weights_only=True)["state_dict"]["backbone.cls_token"]

    for model, pretrained in (
        (Experiment(model=Model(name="t2t_vit_t_14", num_classes=1000)), True),
        ("t2t_vit_t_14", NAME),
    ):
        assert torch.equal(get_model(model, pretrained).cls_token, wanted)
    with pytest.raises(ConfigError, match="no published weights for this Experiment"):
        get_model(Experiment(model=Model(name="t2t_vit_t_14", depth=2)), True)


def test_published_weights_come_from_a_folder(published_14, no_mirror, monkeypatch):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(published_14.parent))

    assert get_model(NAME, pretrained=True).num_classes == 1000
    assert not no_mirror.exists()


def test_published_weights_come_from_where_url_mapping_says(published_14, serve, no_mirror):
    for there in (f"{serve(published_14.parent)}/", f"{published_14.parent}/"):
        assert get_model(NAME, pretrained=True, url_mapping=("https://.*/", there)).num_classes == 1000


def test_a_file_with_another_hash_is_refused_wherever_it_comes_from(t2t_vit_14_file, no_mirror, monkeypatch):
    there = ("https://.*/", f"{t2t_vit_14_file.parent}/")
    with pytest.raises(HashMismatchError, match="not with f7378dd5"):
        get_model(NAME, pretrained=True, url_mapping=there)
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(t2t_vit_14_file.parent))
    with pytest.raises(HashMismatchError, match="not with f7378dd5"):
        get_model(NAME, pretrained=True)


def test_a_wrong_url_mapping_is_told(no_mirror):
    with pytest.raises(ConfigError, match="no regular expression"):
        get_model(NAME, pretrained=True, url_mapping=("(", ""))


def test_without_a_network_the_url_and_the_place_for_the_file_are_told(no_mirror, monkeypatch):
    monkeypatch.setenv("T2T_VIT_WEIGHTS", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:1/{NAME}.*Put the file at {no_mirror}"):
        get_model(NAME, pretrained=True)


def test_a_url_of_weights_is_fetched(save_as_published, tiny, images, serve, no_mirror):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    file = save_as_published(model)

    loaded = get_model("t2t_vit_t_14", f"{serve(file.parent)}/{file.name}", **tiny)

    assert torch.equal(loaded(images), model(images))


def test_a_model_without_published_weights_says_so(tiny):
    for model in ("t2t-vit-digits_demo", Experiment(model=Model(**tiny))):
        with pytest.raises(ConfigError, match=f"there are no published weights for .*{NAME}"):
            get_model(model, pretrained=True)


def test_the_file_decides_how_many_classes_there_are(save_as_published, tiny, images):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    file = save_as_published(model, CLASSES=["a", "b", "c", "d", "e"])

    loaded = get_model(NAME, file, **tiny)

    assert torch.equal(loaded(images), model(images))
    assert loaded.classes == ("a", "b", "c", "d", "e")
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_the_weights_of_a_file_are_in_memory_once(save_as_published, tiny, monkeypatch):
    file = save_as_published(get_model("t2t_vit_t_14", **tiny))
    read = {}

    def remember(path):
        checkpoint = original(path)
        read.update(checkpoint.weights["raw"])
        return checkpoint

    original = load.read_checkpoint
    monkeypatch.setattr(load, "read_checkpoint", remember)
    model = get_model("t2t_vit_t_14", file, **tiny)

    assert {name for name, value in model.state_dict().items() if value.data_ptr() != read[name].data_ptr()} == set()


def test_another_number_of_classes_gets_a_new_head_and_says_so_once(save_as_published, tiny, images, caplog):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    file = save_as_published(model, CLASSES=["a", "b", "c", "d", "e"])

    with caplog.at_level(logging.WARNING):
        loaded = get_model("t2t_vit_t_14", file, **tiny, num_classes=10)

    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: 39 loaded, 2 newly initialised (head.weight, head.bias)"
    ]
    assert loaded(images).shape == (2, 10)
    assert loaded.classes is None
    assert torch.equal(loaded.extract_feat(images)[0], model.extract_feat(images)[0])
    assert 0.01 < loaded.head.weight.std() < 0.03
    assert not loaded.head.bias.any()


def test_the_same_number_of_classes_keeps_the_head(save_as_published, tiny, images, caplog):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    loaded = get_model("t2t_vit_t_14", save_as_published(model), **tiny, num_classes=5)

    assert torch.equal(loaded(images), model(images))
    assert not caplog.records


def test_a_head_is_left_out_where_none_is_wanted(save_as_published, tiny, images):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    loaded = get_model("t2t_vit_t_14", save_as_published(model), **tiny, head=None)

    assert torch.equal(loaded(images), model.extract_feat(images)[0])


def test_a_config_that_settles_the_classes_refuses_a_file_with_others(save_as_published, tiny):
    file = save_as_published(get_model("t2t_vit_t_14", **tiny, num_classes=5))
    with pytest.raises(
        CheckpointError,
        match=r"head\.weight is \(5, 24\), expected \(3, 24\).*or give num_classes to get a new head",
    ):
        get_model(Experiment(model=Model(**tiny, num_classes=3)), file)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"depth": 2}, r"12 unexpected: blocks\.1\.|11 unexpected: blocks\.1\."),
        ({"embed_dim": 48}, r"of another shape: .*is \(1, 1, 48\), expected \(1, 1, 24\)"),
        ({"token_dim": 16}, r"of another shape: tokens_to_token\."),
    ],
    ids=str,
)
def test_weights_of_another_architecture_are_refused_with_keys_and_shapes(other, message, save_as_published, tiny):
    file = save_as_published(get_model("t2t_vit_t_14", **{**tiny, **other}))
    with pytest.raises(CheckpointError, match=message) as error:
        get_model("t2t_vit_t_14", file, **tiny)
    assert str(error.value).startswith(f"{file} (MMPretrain) does not fit t2t_vit_t_14: ")
    assert "Name the model that it was made with, or take what fits with strict=False (Python)" in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_another_published_architecture_are_called_by_its_name(tmp_path):
    torch.save(get_model("t2t_vit_7", num_classes=3).state_dict(), tmp_path / "seven.pth")
    with pytest.raises(
        CheckpointError, match=r"This is t2t_vit_7: use that, or take what fits with strict=False \(Python\)$"
    ):
        get_model("t2t_vit_10", tmp_path / "seven.pth")


def test_a_missing_position_table_is_computed(tiny, images, tmp_path):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    state = {key: value for key, value in model.state_dict().items() if key != "pos_embed"}
    torch.save(state, tmp_path / "without.pth")

    loaded = get_model("t2t_vit_t_14", tmp_path / "without.pth", **tiny)

    assert torch.equal(loaded.pos_embed, sinusoid_table(17, 24))
    assert torch.equal(loaded(images), model(images))


def test_the_position_table_is_interpolated_for_another_size(save_as_published, tiny):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    with torch.no_grad():
        model.pos_embed.add_(1.0)  # what the file says counts, not what could be computed

    loaded = get_model("t2t_vit_t_14", save_as_published(model), **{**tiny, "img_size": (48, 32)})

    assert loaded.grid_size == (6, 4)
    assert torch.equal(loaded.pos_embed, resize_position_table(model.pos_embed, (4, 4), (6, 4)))
    assert loaded.preprocessing["img_size"] == (48, 32)


def test_safetensors_are_read(tiny, images, tmp_path):
    model = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    save_file(model.state_dict(), tmp_path / "model.safetensors", {"classes": '["a", "b", "c", "d", "e"]'})

    loaded = get_model("t2t_vit_t_14", tmp_path / "model.safetensors", **tiny)

    assert torch.equal(loaded(images), model(images))
    assert loaded.classes == ("a", "b", "c", "d", "e")


def test_of_a_training_checkpoint_the_average_is_taken_unless_the_raw_weights_are_asked_for(tiny, images, tmp_path):
    raw, ema = (get_model("t2t_vit_t_14", **tiny, num_classes=2) for _ in range(2))
    torch.save(
        {
            "format": "t2t_vit.training",
            "classes": ["cat", "dog"],
            "model": raw.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": {"state": {}, "param_groups": []},
        },
        tmp_path / "epoch_1.pth",
    )

    assert torch.equal(get_model("t2t_vit_t_14", tmp_path / "epoch_1.pth", **tiny)(images), ema(images))
    loaded = get_model("t2t_vit_t_14", tmp_path / "epoch_1.pth", **tiny, weights="raw")
    assert torch.equal(loaded(images), raw(images))
    assert loaded.classes == ("cat", "dog")
    with pytest.raises(ConfigError, match="it is 'ema' or 'raw'"):
        get_model("t2t_vit_t_14", tmp_path / "epoch_1.pth", **tiny, weights="average")


def test_images_prepared_otherwise_than_in_training_are_warned_of(tiny, tmp_path, caplog):
    trained = Experiment(model=Model(**tiny, num_classes=2), preprocessing=Preprocessing(crop_pct=1.0))
    state = get_model(trained).state_dict()
    content = {"format": "t2t_vit.training", "model": state, "experiment": experiment_to_json(trained)}
    torch.save(content, tmp_path / "epoch_1.pth")

    get_model(trained, tmp_path / "epoch_1.pth")
    assert not caplog.messages
    get_model(dataclasses.replace(trained, preprocessing=Preprocessing()), tmp_path / "epoch_1.pth")
    assert len(caplog.messages) == 1
    assert "crop_pct=1.0" in caplog.messages[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "There is no weights file"), (b"", "is empty"), (b"hello", "is a text file"), (b"PK\3\4x", "damaged")],
    ids=["missing", "empty", "text", "cut off"],
)
def test_a_file_without_weights_is_told_in_one_line(content, message, tiny, tmp_path):
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        get_model("t2t_vit_t_14", tmp_path / "x.pth", **tiny)
    assert "\n" not in str(error.value)


def test_weights_of_colour_images_are_adapted_to_grey_ones_and_it_is_said(save_as_published, tiny, images, caplog):
    file = save_as_published(get_model("t2t_vit_t_14", **tiny, num_classes=5))

    model = get_model("t2t_vit_t_14", file, **tiny, in_chans=1)

    assert model(images[:, :1]).shape == (2, 5)
    assert model.preprocessing["mean"] == (pytest.approx(0.449),)
    (record,) = caplog.records
    assert record.getMessage() == f"{file}: 38 loaded, 3 resized ({', '.join(model.load_report.resized)})"
    assert "attention1.attn.qkv.weight" in record.getMessage()


def test_what_fits_is_taken_where_strictness_is_not_wanted(save_as_published, tiny, caplog):
    source = get_model("t2t_vit_t_14", **tiny, num_classes=5)
    file = save_as_published(source)

    model = get_model("t2t_vit_t_14", file, **{**tiny, "depth": 2}, strict=False)

    assert torch.equal(model.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)
    assert len(model.load_report.missing) == 11
    assert "11 missing (blocks.1." in caplog.text


def test_the_report_says_what_was_loaded(save_as_published, tiny, images):
    model = get_model("t2t_vit_t_14", save_as_published(get_model("t2t_vit_t_14", **tiny)), **tiny)
    assert str(model.load_report) == f"{len(model.state_dict())} loaded"
    assert get_model("t2t_vit_t_14", **tiny).load_report is None


@pytest.mark.parametrize("pretrained", [False, True])
def test_frozen_parts_are_frozen_whether_loaded_or_drawn(pretrained, save_as_published, tiny):
    file = save_as_published(get_model("t2t_vit_t_14", **tiny)) if pretrained else False
    model = get_model("t2t_vit_t_14", file, **tiny, freeze="tokens_to_token,blocks.0")

    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name.partition(".")[0] for name in frozen} == {"tokens_to_token", "blocks"}
    assert {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {
        "cls_token", "norm", "head"
    }  # fmt: skip


def test_gradient_checkpointing_can_be_asked_for(tiny):
    assert get_model("t2t_vit_t_14", **tiny, grad_checkpointing=True).grad_checkpointing
    assert not get_model("t2t_vit_t_14", **tiny).grad_checkpointing


@pytest.mark.parametrize("made_for", ["t2t_vit_7", "t2t_vit_t_19", "t2t_vit_14_se", "t2t_vit_dense", "t2t_vit_c_14"])
def test_weights_of_a_variant_are_called_by_its_name_whatever_their_classes_and_channels(made_for):
    from t2t_vit.hub.build import architecture_of
    from t2t_vit.models import create_model

    with torch.device("meta"):
        state = create_model(made_for, num_classes=3, in_chans=1, img_size=96).state_dict()
    assert architecture_of(state) == made_for


def test_a_runs_own_weights_know_the_grid_that_their_position_table_was_made_for(tiny, tmp_path):
    trained = Experiment(model=Model(**{**tiny, "img_size": (32, 128)}, num_classes=2))
    model = get_model(trained)
    torch.save({"format": "t2t_vit.training", "model": model.state_dict(), "experiment": experiment_to_json(trained)},
               tmp_path / "epoch_1.pth")  # fmt: skip

    loaded = get_model("t2t_vit_t_14", tmp_path / "epoch_1.pth", **{**tiny, "img_size": 64})

    assert loaded.grid_size == (8, 8)
    assert torch.equal(loaded.pos_embed, resize_position_table(model.pos_embed, (4, 16), (8, 8)))


@pytest.mark.parametrize("size", [(32, 128), (128, 32)])
def test_published_weights_of_as_many_tokens_in_another_grid_are_interpolated(size, tmp_path, monkeypatch, no_mirror):
    """A published position table is a square one, whatever number of tokens the model has."""
    source = get_model("t2t_vit_7", img_size=56)
    entry = dataclasses.replace(CATALOGUE["t2t_vit_7.official_in1k"], img_size=56)
    monkeypatch.setattr(catalogue, "CATALOGUE", {entry.name: entry})
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    torch.save(source.state_dict(), tmp_path / "71.7_T2T_ViT_7.pth.tar")

    to_train = Experiment(model=Model(name="t2t_vit_7", img_size=size, num_classes=1000, pretrained="t2t_vit_7"))
    grid = (size[0] // 16, size[1] // 16)
    assert source.pos_embed.shape[1] == 1 + grid[0] * grid[1]
    for model in (get_model("t2t_vit_7", pretrained=True, img_size=size), starting_network(to_train)):
        assert model.grid_size == grid
        assert torch.equal(model.pos_embed, resize_position_table(source.pos_embed, source.grid_size, grid))
        assert model.load_report.resized == ["pos_embed"]


def test_a_file_that_does_not_tell_its_grid_is_loaded_with_a_warning_only_for_another_image_size(
    tiny, tmp_path, caplog
):
    long = {**tiny, "img_size": (16, 64)}
    for name, settings in (("square", tiny), ("long", long)):
        torch.save(get_model("t2t_vit_t_14", **settings).state_dict(), tmp_path / f"{name}.pth")

    own = get_model(Experiment(model=Model(**long)), tmp_path / "long.pth")
    assert own.load_report.doubtful == []
    assert not caplog.messages

    get_model(Experiment(model=Model(**tiny)), tmp_path / "square.pth", img_size=(16, 64))
    assert caplog.messages == [
        f"{tmp_path / 'square.pth'}: 41 loaded, 1 of these perhaps for a square token grid (pos_embed)"
    ]


@pytest.mark.parametrize("stored", ["baseline-3", "{}", '{"model": {"name": "resnet"}}', "[1]"])
def test_what_others_call_experiment_does_not_matter(stored, tiny, images, tmp_path):
    model = get_model("t2t_vit_t_14", **tiny)
    torch.save({"state_dict": model.state_dict(), "experiment": stored}, tmp_path / "theirs.pth")
    assert torch.equal(get_model("t2t_vit_t_14", tmp_path / "theirs.pth", **tiny)(images), model(images))


def test_weights_that_are_no_fractions_are_refused(tiny, tmp_path):
    state = {name: (value * 10).int() for name, value in get_model("t2t_vit_t_14", **tiny).state_dict().items()}
    torch.save(state, tmp_path / "ints.pth")
    with pytest.raises(CheckpointError, match=r"cls_token is torch\.int32; weights are floating-point numbers"):
        get_model("t2t_vit_t_14", tmp_path / "ints.pth", **tiny)


@pytest.mark.parametrize("head", [torch.ones(()), torch.ones(0, 24), torch.ones(5)])
def test_an_odd_head_is_refused_in_words(head, tiny, tmp_path):
    state = {**get_model("t2t_vit_t_14", **tiny, num_classes=5).state_dict(), "head.weight": head}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"of another shape: head\.weight"):
        get_model("t2t_vit_t_14", tmp_path / "odd.pth", **tiny)


def test_the_url_and_the_architecture_of_published_weights_stand_for_them(tmp_path, monkeypatch, no_mirror):
    entry = CATALOGUE["t2t_vit_14.official_cifar10"]
    monkeypatch.setenv("T2T_VIT_WEIGHTS", str(tmp_path))
    torch.save({"net": get_model("t2t_vit_14", num_classes=10).state_dict()}, tmp_path / "cifar10_t2t-vit_14_98.3.pth")
    model = get_model("t2t_vit_14", pretrained=entry.url)
    assert (model.classes, model.preprocessing["interpolation"]) == (entry.classes, "bilinear")

    torch.save(get_model("t2t_vit_7").state_dict(), tmp_path / "71.7_T2T_ViT_7.pth.tar")
    assert get_model("t2t_vit_7", pretrained="t2t_vit_7").num_classes == 1000
