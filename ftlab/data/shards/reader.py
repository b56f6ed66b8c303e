"""Read a tar shard in WebDataset's layout, one sample at a time, from the beginning or from any sample. No torch.

Members that follow one another with the same key are a sample. What cannot be used is told as a problem where it
stands; a key that was there before is not counted again. Memory: one image, and the keys of one shard.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ftlab.core import content_kinds
from ftlab.core.errors import DataError
from ftlab.data.images.decode import MAX_FILE_BYTES
from ftlab.data.shards.http_file import strip_secrets
from ftlab.data.shards.member_names import (
    CLASS_EXTENSION,
    IMAGE_EXTENSIONS,
    JSON_EXTENSION,
    is_metadata_name,
    split_member_name,
)
from ftlab.data.shards.shard_files import find_size, open_shard
from ftlab.data.shards.shard_sample import ShardProblem, ShardSample, match_class, parse_class

_MAX_TEXT_BYTES = 1 << 20
"""Size of a member that names a class, at most; a larger one is not read."""


@dataclass
class _SampleMembers:
    """Members of the sample that is being read.

    Attributes:
        key: of the sample.
        offset: position of its first header.
        end_offset: position after its last member.
        extensions: of its members.
        image: content of its first image, the extension of that, and the position of its first byte.
        class_text: content of `.cls`.
        json_text: content of `.json`.
        is_repeated: a sample of that key came before.
        is_wanted: it begins at or after the place from which the shard is read.
        problems: of its members.
    """

    key: str
    offset: int
    end_offset: int
    is_repeated: bool
    is_wanted: bool
    extensions: set[str] = field(default_factory=set)
    image: tuple[bytes, str, int] | None = None
    class_text: bytes = b""
    json_text: bytes = b""
    problems: list[ShardProblem] = field(default_factory=list)


def iter_shard(
    location: Path | str, *, start_offset: int = 0, classes: Sequence[str] = (), needs_class: bool = True
) -> Iterator[ShardSample | ShardProblem]:
    """Read the samples of a shard in order.

    Args:
        location: path or address of the tar file, not compressed.
        start_offset: 0, or the `offset` or `end_offset` of a sample: reading begins there. The contents before it are
            not read, only their names, so that a key is not counted twice.
        classes: names by label; a sample of none of them is a problem. Empty: any class is taken.
        needs_class: a sample without a class is a problem.

    Yields:
        Each sample, and each problem where it stands.

    Raises:
        DataError: the file cannot be read, or no member begins at `start_offset`.
    """
    name = strip_secrets(str(location))
    try:
        with open_shard(location) as stream:
            yield from _ShardReader(name, stream, start_offset, classes, needs_class=needs_class).iter_results()
    except OSError as cause:
        raise DataError("data.unreadable", folder=name, cause=cause.strerror or cause) from cause


class _ShardReader:
    """One pass over a shard."""

    def __init__(
        self, name: str, stream: BinaryIO, start_offset: int, classes: Sequence[str], *, needs_class: bool
    ) -> None:
        """Prepare a pass; nothing is read yet. The arguments are those of `iter_shard`, and the opened file."""
        self._name, self._stream, self._start_offset = name, stream, start_offset
        self._classes, self._needs_class = classes, needs_class
        self._file_size = find_size(stream)
        self._seen_keys: set[str] = set()
        self._position = 0
        """Position after the last member whose header was read."""
        self._current: _SampleMembers | None = None
        self._has_samples = False

    def iter_results(self) -> Iterator[ShardSample | ShardProblem]:
        """Yield samples and problems, in the order of the file.

        Yields:
            See `iter_shard`.

        Raises:
            DataError: no member begins at the offset from which to read.
        """
        end_problem: ShardProblem | None = None
        try:
            with tarfile.open(fileobj=self._stream, mode="r:") as archive:
                while end_problem is None and (info := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # `TarFile` would collect them
                    if info.offset < self._start_offset < archive.offset:
                        raise DataError("shards.offset", file=self._name, offset=self._start_offset)
                    # A size below zero, as damaged headers state it, would lead back.
                    if archive.offset <= self._position:
                        end_problem = self._make_problem("shard_damaged", info.offset)
                    elif info.offset_data + info.size > self._file_size and info.isreg():
                        end_problem = self._cut_member(info)
                    else:
                        self._position = archive.offset
                        yield from self._take_member(info)
        # `tarfile` raises ValueError and its subclasses for extended headers that are no text.
        except (tarfile.TarError, ValueError):
            is_cut = self._position >= self._file_size > 0
            end_problem = self._make_problem("shard_truncated" if is_cut else self._describe_damage(), self._position)
        if self._position < self._start_offset:
            raise DataError("shards.offset", file=self._name, offset=self._start_offset)
        yield from self._finish_current()
        end_problem = end_problem or self._check_end()
        if end_problem:
            yield end_problem
        elif not self._has_samples:
            yield self._make_problem("shard_empty", 0)

    def _take_member(self, info: tarfile.TarInfo) -> Iterator[ShardSample | ShardProblem]:
        """Add a member to its sample; where another key begins, the sample before is complete.

        Args:
            info: header of the member.

        Yields:
            The sample before, or the problems of it and of the member.
        """
        is_wanted = info.offset >= self._start_offset
        is_file = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
        if info.isdir() or (is_file and is_metadata_name(info.name)):
            return
        names = split_member_name(info.name) if is_file else None
        if names is None:
            if is_wanted:
                code = "shard_name" if is_file else "shard_member"
                yield self._make_problem(code, info.offset, name=info.name)
            return
        key, extension = names
        if self._current is None or key != self._current.key:
            yield from self._finish_current()
            self._current = _SampleMembers(key, info.offset, self._position, key in self._seen_keys, is_wanted)
            self._seen_keys.add(key)
        sample = self._current
        sample.end_offset = self._position
        if is_wanted and not sample.is_repeated:
            self._read_member(sample, extension, info)
        sample.extensions.add(extension)

    def _read_member(self, sample: _SampleMembers, extension: str, info: tarfile.TarInfo) -> None:
        """Read the content of a member if a sample needs it.

        Args:
            sample: gets the content, or a problem.
            extension: of the member.
            info: its header.
        """
        if extension in sample.extensions or (extension in IMAGE_EXTENSIONS and sample.image):
            code = "shard_twice" if extension in sample.extensions else "shard_images"
            sample.problems.append(self._make_problem(code, info.offset, name=info.name))
        elif extension in IMAGE_EXTENSIONS:
            if info.size > MAX_FILE_BYTES:
                limit = MAX_FILE_BYTES // 1_000_000
                sample.problems.append(self._make_problem("too_many_bytes", info.offset, limit=limit))
            else:
                sample.image = self._read_content(info), extension, info.offset_data
        elif extension == CLASS_EXTENSION and info.size <= _MAX_TEXT_BYTES:
            sample.class_text = self._read_content(info)
        elif extension == JSON_EXTENSION and info.size <= _MAX_TEXT_BYTES:
            sample.json_text = self._read_content(info)

    def _cut_member(self, info: tarfile.TarInfo) -> ShardProblem:
        """Return the problem of a member whose end is missing; its sample is not used."""
        names = split_member_name(info.name)
        if self._current and names and names[0] == self._current.key:
            self._current = None
        return self._make_problem("shard_truncated", info.offset)

    def _finish_current(self) -> Iterator[ShardSample | ShardProblem]:
        """End the sample that is being read.

        Yields:
            The sample if it can be used, and its problems.
        """
        sample, self._current = self._current, None
        if sample is None:
            return
        self._has_samples = True
        if not sample.is_wanted:
            return
        yield from sample.problems
        if sample.is_repeated:
            yield self._make_problem("shard_repeated", sample.offset, key=sample.key)
            return
        if sample.image is None:
            if not sample.problems:
                yield self._make_problem("shard_no_image", sample.offset, key=sample.key)
            return
        label, class_name, path = parse_class(sample.class_text, sample.json_text)
        if label is None and class_name is None and self._needs_class:
            yield self._make_problem("shard_no_class", sample.offset, key=sample.key)
            return
        if self._classes:
            matched = match_class(label, class_name, self._classes)
            if matched is None:
                shown_class = class_name if class_name is not None else str(label)
                yield self._make_problem("shard_class", sample.offset, key=sample.key, name=shown_class)
                return
            label, class_name = matched, self._classes[matched]
        image, extension, image_offset = sample.image
        yield ShardSample(
            *(sample.key, image, extension, label, class_name, path),
            *(sample.offset, sample.end_offset, image_offset),
        )

    def _check_end(self) -> ShardProblem | None:
        """Return the problem of a file that has no end mark: `tarfile` itself takes a cut or damaged header for one."""
        block = self._read_bytes(self._position, tarfile.BLOCKSIZE)
        if block == bytes(tarfile.BLOCKSIZE):
            return None
        code = "shard_damaged" if len(block) == tarfile.BLOCKSIZE else "shard_truncated" if block else "shard_no_end"
        return self._make_problem(code, self._position)

    def _describe_damage(self) -> str:
        """Return the code of a file that is no tar file, or in which a header is damaged."""
        if not self._file_size:
            return "empty"
        content_format = content_kinds.find_archive_format(self._read_bytes(0, tarfile.BLOCKSIZE))
        if not self._position and content_format not in ("", "tar"):
            return "shard_compressed"
        return "shard_damaged" if self._position else "shard_no_tar"

    def _read_bytes(self, offset: int, count: int) -> bytes:
        """Return bytes of the file, fewer at its end."""
        self._stream.seek(offset)
        return self._stream.read(count)

    def _read_content(self, info: tarfile.TarInfo) -> bytes:
        """Return the content of a member.

        Raises:
            ReadError: its end is missing, in a file whose size nobody said.
        """
        content = self._read_bytes(info.offset_data, info.size)
        if len(content) < info.size:
            self._file_size, self._current = info.offset_data + len(content), None
            raise tarfile.ReadError(info.name)
        return content

    def _make_problem(self, code: str, offset: int, **values: str | int) -> ShardProblem:
        """Return a problem of this shard."""
        return ShardProblem(self._name.rpartition("/")[2], offset, code, values)
