"""A folder of pictures on a cluster: the answers of this machine, in the order of the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftlab.config import backbones
from ftlab.core import lazy_import
from ftlab.core.errors import ImageError, RunError
from ftlab.data.transforms import preprocess
from ftlab.inference import batch_predict
from ftlab.inference.cluster import cluster_predict
from ftlab.inference.predictor import ClassScore, Predictor
from ftlab.models import network

SPEC = dataclasses.replace(backbones.get_backbone_spec("mobilenet_v2"), side=64, resize=72)

pytestmark = pytest.mark.usefixtures("one_thread")


class BlockDataset:
    """Ray Data's data set as far as a prediction uses it: blocks go through one actor, in order."""

    def __init__(self, rows: Sequence[dict[str, str]], override_num_blocks: int) -> None:
        self.rows, self.block_count = rows, override_num_blocks
        self.options, self.block_sizes = dict[str, Any](), list[int]()

    def map_batches(self, actor: Callable[..., Any], **options: Any) -> BlockDataset:
        self.actor, self.options = actor, options
        return self

    def iter_rows(self) -> Iterator[dict[str, str]]:
        predict_block = self.actor(*self.options["fn_constructor_args"])
        size = -(-len(self.rows) // self.block_count)
        for start in range(0, len(self.rows), size):
            block = {"path": [row["path"] for row in self.rows[start : start + size]]}
            self.block_sizes.append(len(block["path"]))
            for answer in predict_block(block)["answer"]:
                yield {"answer": answer}


class FakeRay:
    """Ray on a cluster without machines: the blocks are predicted in this process."""

    def __init__(self, resources: dict[str, float]) -> None:
        self.resources, self.datasets, self.is_open = resources, list[BlockDataset](), False
        self.context = SimpleNamespace(execution_options=SimpleNamespace())
        self.variables = dict[str, str]()

    def init(self, address: str, *, runtime_env: dict[str, dict[str, str]], **_options: Any) -> None:
        assert address == "auto"
        self.is_open, self.variables = True, runtime_env["env_vars"]

    def shutdown(self) -> None:
        self.is_open = False

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def from_items(self, rows: Sequence[dict[str, str]], **options: int) -> BlockDataset:
        self.datasets.append(BlockDataset(rows, **options))
        return self.datasets[-1]

    def import_module(self, name: str) -> Any:
        if name == "ray":
            return self
        pool = lambda **sizes: sizes  # noqa: E731
        context = SimpleNamespace(get_current=lambda: self.context)
        return SimpleNamespace(DataContext=context, ActorPoolStrategy=pool, from_items=self.from_items)


@pytest.fixture(scope="module")
def model() -> Predictor:
    net = network.build_network(SPEC, 3, pretrained=False, seed=1)
    return Predictor(net, SPEC, preprocess.from_spec(SPEC), ("amber", "blue", "green"), "tiny")


@pytest.fixture
def cluster(model: Predictor, monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    ray = FakeRay({"CPU": 3.0})
    monkeypatch.setattr(lazy_import, "import_module", ray.import_module)
    monkeypatch.setattr(cluster_predict, "load_predictor", lambda _run: model)
    monkeypatch.setattr(cluster_predict, "BLOCK_IMAGES", 4)
    return ray


@pytest.fixture
def files(tiny_folder: Path, tmp_path: Path) -> list[Path]:
    """Pictures, and among them a file that is none."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    found = sorted(path for path in tiny_folder.rglob("*") if path.is_file())[:9]
    return [*found[:3], broken, *found[3:]]


def test_a_cluster_gives_the_answers_of_this_machine_in_the_order_of_the_files(
    model: Predictor, cluster: FakeRay, files: list[Path]
) -> None:
    answers, local_answers = (
        list(predicted)
        for predicted in (cluster_predict.predict_files(None, files, 2), batch_predict.predict_files(model, files, 2))
    )
    assert [path for path, _ in answers] == files
    for (path, answer), (_, local_answer) in zip(answers, local_answers, strict=True):
        if path.name == "broken.jpg":
            assert isinstance(answer, ImageError)
            assert str(answer) == str(local_answer)
        else:
            assert answer == local_answer
    assert cluster.datasets[0].block_sizes == [4, 4, 2]
    assert cluster.context.execution_options.preserve_order
    assert not cluster.is_open


@pytest.mark.parametrize(
    ("resources", "expected_gpus", "expected_actors"),
    [({"CPU": 3.0}, 0, 3), ({"CPU": 32.0, "GPU": 2.0}, 1, 2), ({}, 0, 1)],
    ids=["cores", "gpus", "no machine yet"],
)
def test_each_actor_has_a_core_or_a_gpu_where_there_are_some(
    cluster: FakeRay, files: list[Path], resources: dict[str, float], expected_gpus: int, expected_actors: int
) -> None:
    cluster.resources = resources
    list(cluster_predict.predict_files(None, files, 2))
    options = cluster.datasets[0].options
    assert (options["num_gpus"], options["compute"]["max_size"]) == (expected_gpus, expected_actors)


def test_a_prediction_that_is_given_up_leaves_the_cluster(cluster: FakeRay, files: list[Path]) -> None:
    answers = cluster_predict.predict_files(None, files, 2)
    next(iter(answers))
    assert cluster.is_open
    answers.close()  # type: ignore[attr-defined]
    assert not cluster.is_open


def test_a_machine_that_belongs_to_no_cluster_says_so_in_one_line(
    cluster: FakeRay, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(*_arguments: object, **_options: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore lines")

    monkeypatch.setattr(cluster, "init", find_none)
    with pytest.raises(RunError, match=r"Could not find any running Ray instance\. ") as caught:
        list(cluster_predict.predict_files(None, files, 2))
    assert "\n" not in str(caught.value)


def test_nothing_private_of_the_environment_goes_to_the_cluster() -> None:
    variables = cluster_predict.select_variables({"AWS_SECRET": "1", "TORCH_HOME": "/weights", "PYTHONPATH": "/mine"})
    assert variables.keys() == {"TORCH_HOME", "PYTHONPATH"}
    assert variables["PYTHONPATH"].endswith("/mine")


def test_an_answer_survives_its_way_through_the_cluster() -> None:
    for answer in ([ClassScore(1, "blue", 0.1 + 0.2)], [], ImageError("broken", file="a.jpg", side=3)):
        passed_on = cluster_predict.unpack_answer(cluster_predict.pack_answer(answer))
        if isinstance(answer, ImageError):
            assert isinstance(passed_on, ImageError)
            assert (passed_on.code, passed_on.values) == (answer.code, answer.values)
        else:
            assert passed_on == answer
