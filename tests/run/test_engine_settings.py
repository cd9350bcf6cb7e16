"""What a run can be told besides its recipe, each seen to act in a whole run."""

from __future__ import annotations

import io
import tarfile

import pytest
from forked_runs import log_of
from test_exact_resume import content, differences, plain

from t2t_vit import run
from t2t_vit.errors import ConfigError


def losses(folder):
    return [line["loss"] for line in log_of(folder, "train")]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_an_evaluation_counts_every_image_once_for_any_number_of_processes(
    count, recipe, runs, save_pictures, pictures, tmp_path
):
    save_pictures(tmp_path / "some" / "val", ["cat", "dog", "owl"], count)
    (tmp_path / "some" / "train").symlink_to(pictures / "train")
    figures = []
    for world_size in (1, 2, 4):
        experiment = plain(recipe)
        experiment = recipe(
            model={"drop_path_rate": 0.0},
            data={"root": str(tmp_path / "some"), "global_batch_size": 8},
            augmentation={name: getattr(experiment.augmentation, name) for name in (
                "crop_scale", "crop_ratio", "hflip", "rand_augment", "erase_prob", "mixup", "cutmix")},
            optimizer={"lr": 1e-2},
            schedule={"epochs": 3, "warmup_epochs": 0},
        )  # fmt: skip
        folder = tmp_path / str(world_size)
        assert runs.train(experiment, folder, world_size=world_size) == [0] * world_size
        figures.append(log_of(folder, "val"))
    for others in figures[1:]:
        for one, other in zip(figures[0], others, strict=True):
            assert other.pop("loss") == pytest.approx(one["loss"], abs=1e-5)
            assert other == {name: value for name, value in one.items() if name != "loss"}


def test_a_run_that_gets_no_better_ends_early_and_goes_no_further_when_resumed(recipe, tmp_path):
    experiment = recipe(
        optimizer={"lr": 1e-12}, schedule={"epochs": 50, "warmup_epochs": 0, "min_lr": 0.0},
        runtime={"early_stopping": 3}, ema={"enabled": False},
    )  # fmt: skip
    last = run.train(experiment, tmp_path)
    assert last.name == "epoch_4.pth"
    assert "no better accuracy in 3 evaluations: the run ends early" in (tmp_path / "train.log").read_text()
    before = content(last)
    assert run.train(experiment, tmp_path, resume="last").name == "epoch_4.pth"
    assert differences(content(last), before) == []


def test_class_weights_are_those_of_the_labels(recipe, pictures, tmp_path):
    for n in range(5):
        (pictures / "train" / "owl" / f"{n}.png").unlink()
    views = {"mixup": 0.0, "cutmix": 0.0}
    run.train(recipe(augmentation=views), tmp_path / "plain")
    run.train(recipe(augmentation=views, runtime={"class_weights": "balanced"}), tmp_path / "weighted")
    assert losses(tmp_path / "plain") != losses(tmp_path / "weighted")
    assert all(0.5 < loss < 2 for loss in losses(tmp_path / "weighted"))


def test_balanced_sampling_trains(recipe, pictures, tmp_path):
    for n in range(6):
        (pictures / "train" / "owl" / f"{n}.png").unlink()
    last = run.train(recipe(data={"sampling": "balanced"}), tmp_path)
    assert content(last)["step"] == 2 * (15 // 4)


@pytest.mark.parametrize(
    ("how", "factor"),
    [({"lr_scale": {"tokens_to_token": 0.0, "blocks": 0.0}}, 0.0), ({"layer_decay": 0.5}, 0.25)],
    ids=["by name", "by layer"],
)
def test_parts_of_the_network_learn_at_rates_of_their_own(how, factor, recipe, tmp_path):
    def way(folder, **settings):
        """Return how far the tokens' projection and the head come in a run."""
        optimizer = {"lr": 1e-3, "weight_decay": 0.0, **settings}
        last = run.train(recipe(optimizer=optimizer, schedule={"warmup_epochs": 0}), folder)
        after = content(last)["model"]
        return [
            float((after[name] - before[name]).norm()) for name in ("tokens_to_token.project.weight", "head.weight")
        ]

    before = content(run.train(recipe(optimizer={"lr": 1e-12}), tmp_path / "start"))["model"]
    tokens, head = way(tmp_path / "alike")
    slow_tokens, slow_head = way(tmp_path / "run", **how)
    assert slow_tokens == pytest.approx(factor * tokens, rel=0.3, abs=1e-6)
    assert slow_head == pytest.approx(head, rel=0.7)


def test_sgd_trains_and_resumes(recipe, tmp_path):
    experiment = recipe(optimizer={"kind": "sgd", "lr": 0.05, "decay_vectors": True})
    run.train(experiment, tmp_path / "whole")
    run.train(experiment, tmp_path / "parts")
    run.train(experiment, tmp_path / "parts", resume=tmp_path / "parts" / "epoch_1.pth")
    whole, parts = (content(tmp_path / name / "epoch_2.pth") for name in ("whole", "parts"))
    assert differences(parts, whole) == []
    assert "momentum_buffer" in next(iter(whole["optimizer"]["state"].values()))


@pytest.mark.slow
def test_a_compiled_run_has_the_losses_of_one_that_is_not(recipe, tmp_path):
    run.train(plain(recipe), tmp_path / "eager")
    run.train(plain(recipe, compiled=True), tmp_path / "compiled")
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), abs=1e-4)
    assert (
        content(tmp_path / "compiled" / "epoch_10.pth")["model"].keys()
        == content(tmp_path / "eager" / "epoch_10.pth")["model"].keys()
    )


# --- streams ---


@pytest.fixture
def shards(pictures, tmp_path):
    """The training pictures in three shards, the validation pictures in one."""
    root = tmp_path / "shards"
    root.mkdir()
    for split, count in (("train", 3), ("val", 1)):
        paths = sorted((pictures / split).rglob("*.png"))
        for shard in range(count):
            with tarfile.open(root / f"{split}-{shard}.tar", "w") as tar:
                for number, path in list(enumerate(paths))[shard::count]:
                    label = str(["cat", "dog", "owl"].index(path.parent.name)).encode()
                    for ending, data in (("png", path.read_bytes()), ("cls", label)):
                        member = tarfile.TarInfo(f"{number:04d}.{ending}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
    return root


def streamed(recipe, shards, **data):
    return recipe(
        model={"num_classes": 3},
        data={
            "dataset": "tar_shards", "root": str(shards), "train": "train-{0..2}.tar", "val": "val-0.tar",
            "streaming": True, "num_images": 21, "shuffle_buffer": 5, **data,
        },
        runtime={"log_interval": 1},
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_a_stream_goes_on_exactly(workers, recipe, shards, runs, tmp_path):
    experiment = streamed(recipe, shards, num_workers=workers)
    assert runs.train(experiment, tmp_path / "whole") == [0], runs.said()
    for k in (2, 7):
        assert runs.train(experiment, tmp_path / "parts", resume="auto", stop_at=k) == [143]
    assert runs.train(experiment, tmp_path / "parts", resume="auto") == [0]
    assert differences(content(tmp_path / "parts" / "epoch_2.pth"), content(tmp_path / "whole" / "epoch_2.pth")) == []
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_a_stream_is_shared_by_processes_and_resumed_by_as_many(recipe, shards, runs, tmp_path):
    experiment = streamed(recipe, shards, batch_size=2, num_workers=0)
    assert runs.train(experiment, tmp_path / "run", world_size=2, stop_at=3) == [143, 143]
    assert runs.train(experiment, tmp_path / "run", resume="auto") == [1]
    assert "read its stream in 2 parts (processes times workers) and this one in 1" in runs.said()
    assert runs.train(experiment, tmp_path / "run", world_size=2, resume="auto") == [0, 0]


def test_what_a_stream_cannot_do_is_told(recipe, shards, tmp_path):
    with pytest.raises(ConfigError, match=r"does not say how many images it has; set data\.num_images"):
        run.train(streamed(recipe, shards, num_images=None), tmp_path / "run")
    with pytest.raises(ConfigError, match="a stream of 21 images does not fill a step of 64 images"):
        run.train(streamed(recipe, shards, batch_size=64), tmp_path / "run")


def test_tar_shards_with_random_access_train_as_folders_do(recipe, shards, tmp_path):
    data = {"dataset": "tar_shards", "root": str(shards), "train": "train-*.tar", "val": "val-0.tar"}
    last = run.train(recipe(model={"num_classes": 3}, data=data), tmp_path)
    assert content(last)["images"]["count"] == 21


def test_imagenet_with_a_flat_folder_and_its_list_is_found(recipe, pictures, tmp_path):
    root = tmp_path / "in1k"
    (root / "meta").mkdir(parents=True)
    (root / "train").symlink_to(pictures / "train")
    (root / "val").mkdir()
    lines = []
    for number, path in enumerate(sorted((pictures / "val").rglob("*.png"))):
        (root / "val" / f"{number}.png").write_bytes(path.read_bytes())
        lines.append(f"{number}.png {['cat', 'dog', 'owl'].index(path.parent.name)}\n")
    (root / "meta" / "val.txt").write_text("".join(lines))
    run.train(recipe(data={"root": str(root)}), tmp_path / "run")
    run.train(recipe(), tmp_path / "folders")
    assert log_of(tmp_path / "run", "val") == log_of(tmp_path / "folders", "val")
