# pyright: reportUnknownMemberType=false
"""Reports: one self-contained HTML page per run or demo folder, and one picture of the result.

The page needs no network: styles, plots and the small script are inside the file. `kinds.KINDS` lists the
kinds of folders that have a report.
"""

from pathlib import Path

import matplotlib

from neurofdfa.io import write_text
from neurofdfa.report.kinds import kind_of
from neurofdfa.report.page import render
from neurofdfa.report.plot.style import RC

__all__ = ["figure", "write"]


def write(folder: Path) -> Path:
    """Write `folder/report.html` from what is in the folder, whole or not at all, and return its path.

    Parts that are missing (no raster, no Lava, an unfinished run) are left out. The same folder gives the
    same bytes. Raises UserError when the folder is neither a run nor a demo, is damaged, or cannot be
    written.
    """
    folder = Path(folder)
    kind = kind_of(folder)
    with matplotlib.rc_context(RC):
        html = render(kind.page(folder))
    path = folder / "report.html"
    write_text(path, html)
    return path


def figure(folder: Path) -> bytes:
    """One composed picture of the folder's result as PNG (2361 × 826 pixels).

    Raises UserError as `write` does.
    """
    folder = Path(folder)
    kind = kind_of(folder)
    with matplotlib.rc_context(RC):
        return kind.picture(folder)
