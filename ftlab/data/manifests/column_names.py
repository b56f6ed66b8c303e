"""Names and values by which the columns of a list of images are recognized. No torch."""

from __future__ import annotations

import os
import re

from ftlab.data.images.decode import IMAGE_SUFFIXES

PATH_NAMES = (
    *("path", "file", "filename", "filepath", "image", "imagepath", "picture", "img", "imgpath", "imagename"),
    *("imagefile", "imagefilename", "imagefilepath", "imgname", "imgfile", "photo", "photoname", "photopath"),
    *("picturename", "picturepath", "filenames", "fname", "fpath", "fullpath", "relativepath", "relpath", "images"),
)
"""Names of a column of paths, in lower case and without spaces and underscores; the first one that is there counts."""
ID_NAMES = (
    *("imageid", "imgid", "id", "idcode", "imageindex", "isicid", "photoid", "pictureid", "fileid", "name", "uid"),
    *("uuid", "key", "index", "sampleid", "patientid"),
)
"""Names of a column that may hold the names of the files, most often without their endings."""
LABEL_NAMES = (
    *("label", "class", "category", "classname", "target", "labels", "labelname", "classlabel", "categoryname"),
    *("species", "breed", "diagnosis", "dx", "disease", "variety", "genus", "classid", "labelid", "categoryid"),
    *("targetname", "groundtruth", "gt", "emotion", "expression", "findinglabels", "level", "grade", "tags", "tag"),
    *("classes", "classindex", "classidx", "labelidx", "y", "type", "kind", "commonname", "scientificname", "choice"),
)
"""Names of a column of labels."""
USUAL_LABEL_NAMES = LABEL_NAMES[:5]
LABEL_TEXT_NAMES = ("classname", "labelname", "categoryname", "targetname", "labeltext", "classlabel")
"""Names of a column that spells out the numbers of another one."""
MULTI_LABEL_NAMES = ("labels", "tags", "attributes", "attributeids", "findinglabels", "classes", "categories")
"""Names of columns of several labels, where a space may separate them."""
TAG_NAMES = ("tags", "attributes", "attributeids")
"""Names of columns whose words are labels of their own, even if no image has one of them alone."""
SPLIT_NAMES = ("split", "subset", "set")
GUESSED_SPLIT_NAMES = ("partition", "phase", "usage", "dataset", "datasplit", "splitname", "group")
"""Names of columns that are splits only if their values are."""
FLAG_SPLITS = {
    **dict.fromkeys(("istrain", "istraining", "istrainingimage"), ("train", "test")),
    **dict.fromkeys(("istest", "istesting"), ("test", "train")),
    **dict.fromkeys(("isvalid", "isval", "isvalidation"), ("val", "train")),
}
"""Names of columns that say of each image whether it is in a split: that split, and the one of the other images."""
_FOLD_NAMES = ("fold", "folds", "kfold", "cvfold", "foldid", "foldnumber", "cvfoldid", "cv", "splitid", "splits")
NO_LABEL_NAMES = frozenset(
    (*SPLIT_NAMES, *GUESSED_SPLIT_NAMES, *FLAG_SPLITS, *_FOLD_NAMES, "strata", "index", "unnamed0")
)
"""Names of columns that are never labels, although their values repeat."""
_LABEL_WORDS = frozenset(
    ("label", "class", "category", "target", "species", "breed", "diagnosis", "disease", "grade", "grading")
)
"""Words with which the name of a column of labels may end: `Retinopathy grade`."""
_FLAG_VALUES = {"0": False, "1": True, "-1": False, "": False} | {
    word: is_set
    for words, is_set in ((("true", "yes", "t", "y"), True), (("false", "no", "f", "n"), False))
    for word in words
}
"""Values of the columns of a table with one column per class."""


def has_image_suffix(value: str) -> bool:
    """Return whether a value ends as the name of an image file does."""
    # `PurePath` would drop a trailing separator, and so take a folder for an image.
    return os.path.splitext(value.strip())[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def normalize_name(name: str) -> str:
    """Return the name of a column in lower case, letters and digits only: `File Name`, `file_name` -> `filename`."""
    return re.sub(r"[\W_]+", "", name.casefold())


def ends_with_label_word(name: str) -> bool:
    """Return whether the last word of a column's name is one for labels."""
    words = re.findall(r"[^\W_]+", name.casefold())
    return bool(words) and words[-1] in _LABEL_WORDS


def is_split_name(name: str) -> bool:
    """Return whether a column is named like one of splits or folds."""
    normalized = normalize_name(name)
    return normalized in SPLIT_NAMES or normalized in FLAG_SPLITS or re.sub(r"\d+$", "", normalized) in _FOLD_NAMES


def parse_flag(cell: str) -> bool | None:
    """Return the truth value of a cell; None where it is none."""
    value = cell.strip().casefold()
    if value not in _FLAG_VALUES:
        value = value.rstrip("0").removesuffix(".") if re.fullmatch(r"-?[01]\.0+", value) else value
    return _FLAG_VALUES.get(value)


def is_number(value: str) -> bool:
    """Return whether a value is a number."""
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value) is not None
