"""Commands that convert the MATLAB files of known data sets into lists; ftlab itself does not read them. No torch.

Without them, a folder of Oxford flowers or Stanford cars has images, but no labels.
"""

from __future__ import annotations

import re
from pathlib import Path

MATLAB_SUFFIX = ".mat"
_PLAIN_NAME = re.compile(r"[\w .()-]+")
_IMPORTS = "import csv,scipy.io as io"
_WRITER = (
    "f=open('{name}','w',newline='',encoding='utf-8')",
    "csv.writer(f).writerows([{header},*({row} for {items})])",
    "f.close()",
)


def format_conversion(file: Path) -> str:
    """Return the command, to be run in the folder of a MATLAB file, that writes its labels as CSV.

    The commands need SciPy. For a file that is not known, the command prints what is in it.

    Args:
        file: the file; those beside it tell which data set it belongs to.

    Returns:
        One line for the shell of any system: within its quotation marks, no character means anything to a shell.
    """
    statements = _convert_flowers(file.parent) or _convert_cars(file.parent) or _show_content(file.name)
    return f'python -c "{"; ".join([_IMPORTS, *statements])}"'


def _convert_flowers(folder: Path) -> list[str]:
    """Return the statements for Oxford flowers 102: the label of `image_00001.jpg` is the first one, and so on."""
    if not (folder / "imagelabels.mat").is_file():
        return []
    labels = "y=io.loadmat('imagelabels.mat')['labels'][0]"
    items = "i,c in enumerate(y,1)"
    if not (folder / "setid.mat").is_file():
        return [labels, _format_writer("labels", ("path", "label"), "(f'image_{i:05d}.jpg',c)", items)]
    splits = (
        "m=io.loadmat('setid.mat')",
        "s={i:n for n,k in (('train','trnid'),('val','valid'),('test','tstid')) for i in m[k][0]}",
    )
    row = "(f'image_{i:05d}.jpg',c,s[i])"
    return [labels, *splits, _format_writer("labels", ("path", "label", "split"), row, items)]


def _convert_cars(folder: Path) -> list[str]:
    """Return the statements for Stanford cars: one file for all images, or one for each split and a third of names."""
    if (folder / "cars_annos.mat").is_file():
        row = "(a['relative_im_path'],m['class_names'][a['class']-1],('train','test')[a['test']])"
        return [
            _load_file("m", "cars_annos"),
            _format_writer("labels", ("path", "label", "split"), row, "a in m['annotations']"),
        ]
    names = (name for name in ("cars_train_annos", "cars_test_annos_withlabels") if (folder / f"{name}.mat").is_file())
    files = [*names]
    has_names = (folder / "cars_meta.mat").is_file()
    label = "n['class_names'][a['class']-1]" if has_names else "a['class']"
    statements = [_load_file("n", "cars_meta")] if files and has_names else []
    for name in files:
        writer = _format_writer(name, ("path", "label"), f"(a['fname'],{label})", "a in m['annotations']")
        statements += [_load_file("m", name), writer]
    return statements


def _show_content(name: str) -> list[str]:
    """Return the statement that prints the variables of a file; names that are odd for a shell are left out."""
    shown_name = name if _PLAIN_NAME.fullmatch(name) else f"FILE{MATLAB_SUFFIX}"
    return [f"print(io.loadmat('{shown_name}',simplify_cells=True))"]


def _load_file(variable: str, name: str) -> str:
    """Return the statement that loads a file with plain Python values in place of MATLAB's cells."""
    return f"{variable}=io.loadmat('{name}.mat',simplify_cells=True)"


def _format_writer(name: str, columns: tuple[str, ...], row: str, items: str) -> str:
    """Return the statements that write a list.

    Args:
        name: of the list, without its ending.
        columns: names of its columns.
        row: expression of a row.
        items: loop over what is to be written.
    """
    return "; ".join(_WRITER).format(name=f"{name}.csv", header=columns, row=row, items=items)
