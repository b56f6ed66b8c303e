"""Listings of the folders of a data set, each read from the disk once. No torch."""

from __future__ import annotations

from pathlib import Path

from ftlab.data.folders.folder_words import is_wrapper_name, parse_split_name
from ftlab.data.sources.listing import FolderListing, join_path, list_folder, walk_folders


class FolderTree:
    """Folders below a root, listed when they are first asked for.

    Args:
        root: absolute path, links resolved.
    """

    def __init__(self, root: Path) -> None:
        """Store the root; nothing is read yet."""
        self.root = root
        self._listings: dict[str, FolderListing] = {}
        self._image_flags: dict[str, bool] = {}

    def list_folder(self, path: str) -> FolderListing:
        """Return the listing of one folder, given by its POSIX path below the root."""
        if path not in self._listings:
            self._listings[path] = list_folder(self.root, path)
        return self._listings[path]

    def has_images(self, path: str) -> bool:
        """Return whether there is an image in a folder or anywhere below it."""
        if path not in self._image_flags:
            self._image_flags[path] = any(
                listing.images for _, listing in walk_folders(self.root, path, self.list_folder)
            )
        return self._image_flags[path]

    def list_subfolders(self, path: str) -> list[str]:
        """Return the names of the sub-folders that have images, in natural order."""
        return [name for name in self.list_folder(path).folders if self.has_images(join_path(path, name))]

    def enter_wrappers(self, path: str) -> str:
        """Return the folder below that a folder merely wraps: `seg_train/seg_train` for `seg_train`; else itself."""
        while True:
            subfolders = self.list_subfolders(path)
            if self.list_folder(path).images or len(subfolders) != 1:
                return path
            inner_path = join_path(path, subfolders[0])
            inner_subfolders = self.list_subfolders(inner_path)
            wraps = is_wrapper_name(subfolders[0], get_name(path)) or any(map(parse_split_name, inner_subfolders))
            # A folder without sub-folders is no wrapper: it is the only class.
            if not inner_subfolders or not wraps:
                return path
            path = inner_path

    def list_files(self, path: str) -> dict[str, int]:
        """Return the images below a folder, with their paths relative to it and their sizes in bytes."""
        return {
            join_path(subpath, name): size
            for subpath, listing in walk_folders(self.root, path, self.list_folder)
            for name, size in listing.images.items()
        }


def get_name(path: str) -> str:
    """Return the last part of a POSIX path."""
    return path.rpartition("/")[2]
