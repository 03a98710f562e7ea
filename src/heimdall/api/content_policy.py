"""What a document of this server may load and run: nothing inline, except the style sheets that stand in the very document.

Those are allowed by their SHA-256 (CSP Level 3, section 8.2), so that markup that found its way into the page can neither run a
script nor bring a style. Styles that scripts set through the CSSOM are no inline styles and need no permission.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

_STYLE: Final = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)


def make_policy(document: str = "") -> str:
    """Return the value of ``Content-Security-Policy`` for a document, or for whatever is none."""
    hashes = (_hash(sheet) for sheet in _STYLE.findall(document))
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self'",
            " ".join(("style-src 'self'", *hashes)),
            "style-src-attr 'none'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
            "form-action 'self'",
        )
    )


def _hash(sheet: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()}'"
