"""Templates and assets of the pages, read once when the app is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from services.console.errors import ApiError
from services.console.pages.words import filters
from shared.identity import content_digest

HERE = Path(__file__).parent.parent
ASSETS = {"console.css": "text/css; charset=utf-8", "favicon.svg": "image/svg+xml"}


class Renderer:
    """Fills templates, everything escaped; a name that a template misses is a fault, not a blank."""

    def __init__(self) -> None:
        self.assets = {name: (HERE / "assets" / name).read_bytes() for name in ASSETS}
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(filters())
        stamps = {name: content_digest(content)[-12:] for name, content in self.assets.items()}
        self._environment.globals["stamps"] = stamps

    def page(self, template: str, context: Mapping[str, Any], status: int = 200) -> HTMLResponse:
        """A whole page."""
        return HTMLResponse(self._environment.get_template(template).render(context), status)

    def error(self, error: ApiError) -> HTMLResponse:
        """The page of an error."""
        return self.page("error.html", {"error": error}, error.status)
