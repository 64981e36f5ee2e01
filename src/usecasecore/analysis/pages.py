"""The pages that say what a check finds, why it matters and what to do: one Markdown file for each code.

The example of a page is a module whose `app` has exactly this one finding.
"""

from __future__ import annotations

from usecasecore.code_pages import CodePages

__all__ = ["codes", "example", "page", "title"]

_PAGES = CodePages("usecasecore.analysis", "UCC")

codes, page, title, example = _PAGES.codes, _PAGES.page, _PAGES.title, _PAGES.example
