"""Leave masks and other annotations that are image files out of the pictures of a class. No torch."""

from __future__ import annotations

import posixpath
import re

from ftlab.data.folders.folder_tree import FolderTree
from ftlab.data.folders.folder_words import IMAGE_WORDS, has_word, is_annotation_name
from ftlab.data.sources.listing import DatasetProblem, FolderListing, join_path, walk_folders

_MASK_WORDS = r"(?:masks?|seg|segmentation|gt|ground_?truth|annotation|trimap)"
_MASK_FILE_PATTERN = re.compile(rf"(?i)(.+?)[ _-]{_MASK_WORDS}(?:[ _-]?\d+)?")
_MASK_WORD_PATTERN = re.compile(rf"(?i)[ _-]{_MASK_WORDS}[ _.\d-]")


def find_annotation_folders(tree: FolderTree, path: str) -> list[str]:
    """Return the names of the sub-folders that hold masks or other annotations of images that lie beside them.

    A name such as `masks` alone is not enough: a class may have it. There must be a sibling such as `images`, or most
    of the files must have the names of images in the folder itself.
    """
    listing = tree.list_folder(path)
    names = [name for name in listing.folders if is_annotation_name(name)]
    if not names:
        return []
    image_siblings = [name for name in listing.folders if has_word(name, IMAGE_WORDS) and name not in names]
    if image_siblings:
        return names
    stems = {posixpath.splitext(file)[0].casefold() for file in listing.images}
    return [name for name in names if _is_annotating(tree.list_files(join_path(path, name)), stems)]


def _is_annotating(files: dict[str, int], stems: set[str]) -> bool:
    """Return whether at least half of the files have the name of an image, perhaps with `_mask` behind it."""
    names = [posixpath.splitext(posixpath.basename(file))[0].casefold() for file in files]
    count = sum(name in stems or _get_masked_stem(name) in stems for name in names)
    return count > 0 and 2 * count >= len(names)


def _get_masked_stem(stem: str) -> str | None:
    """Return the name of the image that a file name such as `1_mask` belongs to; None for another name."""
    match = _MASK_FILE_PATTERN.fullmatch(stem)
    return match.group(1) if match else None


def list_class_images(tree: FolderTree, path: str) -> FolderListing:
    """List the images in a class folder and its sub-folders; masks are left out and reported.

    Args:
        tree: the folders.
        path: POSIX path of the class folder.

    Returns:
        The listing; `images` has paths relative to the class folder.
    """
    result = FolderListing(path)

    def skip_annotations(listing: FolderListing) -> list[str]:
        return find_annotation_folders(tree, listing.path)

    for subpath, listing in walk_folders(tree.root, path, tree.list_folder, skip_annotations):
        mask_files = _find_mask_files(listing)
        images = {name: size for name, size in listing.images.items() if name not in mask_files}
        result.images.update({join_path(subpath, name): size for name, size in images.items()})
        result.problems += listing.problems + _report_annotations(tree, listing, mask_files)
    return result


def _report_annotations(tree: FolderTree, listing: FolderListing, mask_files: dict[str, int]) -> list[DatasetProblem]:
    """Return a problem for each folder of annotations, and one for mask files beside their images.

    Args:
        tree: the folders.
        listing: of the folder that contains them.
        mask_files: result of `_find_mask_files`.

    Returns:
        The problems.
    """
    problems = []
    for name in find_annotation_folders(tree, listing.path):
        count = len(tree.list_files(join_path(listing.path, name)))
        if count:
            problems.append(DatasetProblem(join_path(listing.path, name), "masks", {"count": count}))
    if mask_files:
        values: dict[str, str | int] = {"count": len(mask_files), "file": next(iter(mask_files))}
        problems.append(DatasetProblem(listing.path, "mask_files", values))
    return problems


def _find_mask_files(listing: FolderListing) -> dict[str, int]:
    """Return the images of a folder whose name is that of another one with `_mask` behind it."""
    # Few folders have any: one search over all names spares a match of each.
    if not _MASK_WORD_PATTERN.search("\n".join(listing.images)):
        return {}
    stems = {posixpath.splitext(name)[0].casefold() for name in listing.images}
    return {
        name: size
        for name, size in listing.images.items()
        if _get_masked_stem(posixpath.splitext(name)[0].casefold()) in stems
    }
