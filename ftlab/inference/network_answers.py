"""Logits and class activation maps of a network: by torch, or by one ONNX graph once it is built."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from ftlab.config.backbones import BackboneSpec
from ftlab.core.machine import count_cpu_cores, release_free_memory
from ftlab.inference.cam_methods import compute_cam, weight_activation
from ftlab.models.cam_layers import CamLayer
from ftlab.models.execution import answer_graph
from ftlab.models.execution.answer_graph import AnswerGraph
from ftlab.models.network import Network

MIN_GRAPH_IMAGES = 64
"""Answers below which a graph is not worth building: it takes the CPU time of 10 to 60 answers by torch."""
_GRAPH_BUILDER = ThreadPoolExecutor(1, "answer-graph")
"""Builds one graph at a time: an export takes seconds of a core, and several times the network's memory."""


class NetworkAnswers:
    """Answers of a network that nobody trains. Thread-safe.

    Both ways give the same answers but for float32 rounding. An image's answer has the same bits however many others
    are asked for at the same time.

    Attributes:
        network: in evaluation mode, without gradients.
        network_lock: held while the network runs: during a map, a hook sits on it that no other pass may meet.
    """

    def __init__(self, net: Network, spec: BackboneSpec) -> None:
        """Answer by torch at first.

        Args:
            net: in evaluation mode, without gradients.
            spec: of the backbone.
        """
        self.network, self._spec = net, spec
        self.network_lock = threading.Lock()
        self._graph_lock = threading.Lock()
        self._graph_build: Future[None] | None = None
        self._graph: AnswerGraph | None = None
        self._batch_pool = ThreadPoolExecutor(count_cpu_cores(), "answers")  # starts no thread before it is used
        self._answers_on_callers = False
        self._thread_state = threading.local()

    def answer_on_callers(self) -> None:
        """Compute each answer from now on with the calling thread alone, at the same time as those of other threads.

        For callers that have a thread for each core. To be called before `prepare_graph`.
        """
        self._answers_on_callers = True

    def prepare_graph(self, image_size: int) -> Future[None]:
        """Build the graph in the background, if the network has one and it was not asked for before.

        Args:
            image_size: side of the images, in pixels.

        Returns:
            The future that ends with the build.
        """
        with self._graph_lock:
            if self._graph_build is None:
                self._graph_build = _GRAPH_BUILDER.submit(_build_if_alive, weakref.ref(self), image_size)
                # Nobody has to read the future: a bug is then logged with its traceback.
                self._graph_build.add_done_callback(Future.result)
            return self._graph_build

    @property
    def has_graph(self) -> bool:
        """Whether the graph answers."""
        return self._graph is not None

    def build_graph(self, image_size: int) -> None:
        """Build the graph on the calling thread; torch goes on to answer where there is none.

        Args:
            image_size: side of the images, in pixels.
        """
        with self.network_lock:
            net = copy.deepcopy(self.network)
        thread_count = 1 if self._answers_on_callers else answer_graph.THREADS_OF_ONE_CALLER
        self._graph = answer_graph.build_answer_graph(net, self._spec, image_size, thread_count)
        release_free_memory()  # an export leaves four times the network's size behind

    def compute_logits(self, image_batch: Tensor) -> Tensor:
        """Compute the logits of images.

        Args:
            image_batch: normalized, float32 [N, 3, S, S].

        Returns:
            float32 [N, K].
        """
        if self._graph is None:
            # Locked for each batch alone, so that other threads have their turn in between.
            with self._take_network() as net, torch.inference_mode():
                logits: Tensor = net(image_batch)
                return logits.float()
        graph = self._graph
        # One by one: a larger batch is no faster an image.
        run_each = map if len(image_batch) == 1 or self._answers_on_callers else self._batch_pool.map
        return torch.cat([logits for logits, _ in run_each(graph, image_batch.split(1))])

    def compute_cam(
        self, image: Tensor, class_index: int | None, method: str, cam_layer: CamLayer
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits of an image and the activation map of one class.

        Args:
            image: normalized, float32 [1, 3, S, S].
            class_index: of the class; None selects the one with the largest logit.
            method: one of `cam_options.CAM_METHODS`.
            cam_layer: the target layer; the graph knows the backbone's default one.

        Returns:
            Logits, float32 [K], and the map before the ReLU, float32 [h, w], as `cam_methods.compute_cam`.
        """
        if self._graph is None or cam_layer.path != self._spec.cam:
            with self._take_network() as net:
                return compute_cam(net, self._spec, image, class_index, method, cam_layer)
        logits, feature_map = self._run_graph(image)
        target_index = int(logits.argmax()) if class_index is None else class_index
        return logits, self._weight_feature_map(feature_map, target_index, method)

    def compute_class_maps(
        self, image: Tensor, class_indices: Sequence[int], method: str, cam_layer: CamLayer
    ) -> list[Tensor]:
        """Compute the activation maps of several classes: by one call of the graph, or by a pass of torch for each.

        Args:
            image: as for `compute_cam`.
            class_indices: of the classes.
            method: as for `compute_cam`.
            cam_layer: as for `compute_cam`.

        Returns:
            The maps, float32 [h, w] each, with the bits of `compute_cam`.
        """
        if self._graph is None or cam_layer.path != self._spec.cam:
            return [self.compute_cam(image, index, method, cam_layer)[1] for index in class_indices]
        _, feature_map = self._run_graph(image)
        return [self._weight_feature_map(feature_map, index, method) for index in class_indices]

    def _run_graph(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, float32 [K], and feature map, float32 [C, h, w], of an image, float32 [1, 3, S, S]."""
        assert self._graph is not None
        logits, feature_maps = self._graph(image)
        return logits[0], feature_maps[0]

    def _weight_feature_map(self, feature_map: Tensor, class_index: int, method: str) -> Tensor:
        """Return the map of a class, float32 [h, w], from the graph's feature map, float32 [C, h, w]."""
        assert self._graph is not None
        gradient = self._graph.compute_gradient(feature_map, class_index)
        return weight_activation(feature_map, gradient, method)

    @contextmanager
    def _take_network(self) -> Iterator[Network]:
        """Yield the network for one pass, which may put hooks on it: locked, or a copy of the calling thread's own."""
        if not self._answers_on_callers:
            with self.network_lock:
                yield self.network
            return
        net: Network | None = getattr(self._thread_state, "network", None)
        if net is None:
            tensors = (*self.network.parameters(), *self.network.buffers())
            with self.network_lock:
                # Only the modules are copied: all threads share parameters and buffers, which no pass changes.
                net = copy.deepcopy(self.network, {id(tensor): tensor for tensor in tensors})
            self._thread_state.network = net
        yield net


def _build_if_alive(answers_ref: weakref.ref[NetworkAnswers], image_size: int) -> None:
    """Build a graph unless its model was dropped from memory while the build waited for its turn."""
    answers = answers_ref()
    if answers is not None:
        answers.build_graph(image_size)
