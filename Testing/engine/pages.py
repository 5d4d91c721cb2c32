"""Report pages as tests see them: parsed with the standard library, as a browser would."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

EMPTY = {"img", "meta", "input", "br", "link", "hr"}
BLOCKS = {"div", "p", "li", "dt", "dd", "h1", "h2", "h3", "figcaption", "caption"}


class Page(HTMLParser):
    """A page.

    Attributes:
        text: all that is read, in one line; styles and scripts are not.
        rows: of all tables by their first cell: the texts of the others.
        pictures: alternative texts and addresses of the pictures.
        addresses: all that a browser would load.
        ids: of elements.
        tags: of all elements, in order.
        attributes: (tag, attributes) of all elements.
    """

    def __init__(self, content: str):
        super().__init__()
        self.text, self.rows, self.pictures, self.addresses = "", {}, [], []
        self.ids, self.tags, self.attributes, self.styles = set(), [], [], ""
        self._open, self._cells = [], None
        self.feed(content)
        self.close()
        assert not self._open, f"left open: {self._open}"
        self.text = re.sub(r"\s+", " ", self.text)
        self.addresses += re.findall(r"url\(([^)]*)\)|@import", self.styles)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag in BLOCKS:
            self.text += " "
        self.attributes.append((tag, found))
        if "id" in found:
            assert found["id"] not in self.ids, f"twice: {found['id']}"
            self.ids.add(found["id"])
        self.addresses += [found[name] for name in ("src", "href", "srcset", "data", "action") if name in found]
        self.styles += found.get("style", "")
        if tag == "img":
            self.pictures.append((found["alt"], found["src"]))
        if tag == "tr":
            self._cells = []
        if tag in ("td", "th") and self._cells is not None:
            self._cells.append("")
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "tr":
            cells = [re.sub(r"\s+", " ", cell).strip() for cell in self._cells]
            if cells:
                self.rows.setdefault(cells[0], cells[1:])
            self._cells = None

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            self.styles += data
        elif not (self._open and self._open[-1] == "script"):
            self.text += data
            if self._cells:
                self._cells[-1] += data

    def picture(self, *words) -> np.ndarray:
        """The pixels (rows, columns) or (rows, columns, 3) of the one picture whose text has all these words."""
        (address,) = {src for alt, src in self.pictures if all(word in alt for word in words)}
        return pixels(address)


def pixels(address: str) -> np.ndarray:
    """The pixels that a `data:` address holds."""
    kind, content = address.split(",", 1)
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return np.asarray(picture.convert("L" if picture.mode == "L" else "RGB"))


def numbers(text: str) -> list[float]:
    """All numbers in a text."""
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]
