"""A report's page, read back."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and gathers text and links."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.sources = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self):
        """The text, each space and each dash the one of the keyboard."""
        text = re.sub(r"[\N{MINUS SIGN}\N{EN DASH}]", "-", " ".join(self.text))
        return re.sub(r"\s+", " ", text)
