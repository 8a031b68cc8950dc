"""The tags of an HTML page, to show that no text of a page is taken for HTML."""

from __future__ import annotations

from html.parser import HTMLParser

#: Text that would become tags or attributes wherever it is inserted as it is.
HOSTILE = '</td></title><script>alert(1)</script><img src=x onerror="a" \'>{{ 7 * 7 }}&lt;"\'&'
#: As long, so that figures have the same size.
HARMLESS = "x" * len(HOSTILE)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))


def tags(page: str) -> list[tuple[str, ...]]:
    """Return the page's tags in their order, each with the names of its attributes."""
    parser = _Tags()
    parser.feed(page)
    parser.close()
    return parser.tags
