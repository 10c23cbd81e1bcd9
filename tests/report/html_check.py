"""A strict reading of the page: tags in balance, ids unique, links inside the file."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        self.addresses += [str(v) for k, v in attrs if k in ("href", "src", "xlink:href") and v]
        self.faults += [f"handler {k} on <{tag}>" for k in values if k.startswith("on")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], data))

    def text(self, *inside: str) -> str:
        """The text within some kinds of elements, or all that a reader sees."""
        hidden = {"script", "style"}
        return " ".join(
            " ".join(data.split())
            for tag, data in self.texts
            if (tag in inside if inside else tag not in hidden)
        )

    def check(self) -> None:
        assert not self.faults, self.faults[:5]
        twice = {i for i in self.ids if self.ids.count(i) > 1}
        assert not twice
        for address in self.addresses:
            assert address.startswith(("#", "data:")), address
            assert address == "data:," or not address.startswith("#") or address[1:] in self.ids, address
