"""How networks, data sets, trainers and runs show themselves in a notebook."""

from collections.abc import Iterable
from html import escape


def card(title: str, rows: Iterable[tuple[object, ...]], heading: tuple[str, ...] = ()) -> str:
    """A small table in HTML: a title, an optional heading, and rows of anything that has a text.

    Texts are escaped, so that a name with markup in it is shown letter by letter. Colours are the notebook's
    own, light or dark.
    """
    cells = ["".join(f"<th>{escape(text)}</th>" for text in heading)] if heading else []
    cells += [
        "".join(f'<td style="text-align:left">{escape(str(cell))}</td>' for cell in row) for row in rows
    ]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    caption = f'<caption style="text-align:left"><b>{escape(title)}</b></caption>'
    return f"<table>{caption}{body}</table>"
