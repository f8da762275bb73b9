"""Templates to text."""

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from arm_jax.system import files

FOLDER = Path(__file__).parent


@functools.cache
def environment() -> jinja2.Environment:
    """The templates of this folder: everything escaped, an undefined name an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, *, scripts: Sequence[str] = (), **values: Any) -> str:
    """The text of a page.

    Args:
      template: the name of a file in this folder that extends base.html.
      scripts: files of this folder to run after page.js.
      values: what the template uses; base.html needs `title`, a text.

    Raises:
      jinja2.UndefinedError: the template uses a value that was not given.
    """
    sources = [(FOLDER / name).read_text(encoding="utf-8") for name in ("page.js", *scripts)]
    return (
        environment()
        .get_template(template)
        .render(
            values,
            style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
            scripts=[Markup(source) for source in sources],
            policy=_policy(sources),
            as_data=as_data,
        )
    )


def write(path: str | Path, template: str, *, scripts: Sequence[str] = (), **values: Any) -> Path:
    """Write a page, whole or not at all. Arguments as for `render`.

    Raises:
      InputError: the folder cannot be written, or has a file of that name that is somebody else's.
    """
    text = render(template, scripts=scripts, **values)
    # A name that is no valid Unicode (a file's, with bytes of another encoding) stays readable.
    files.write(path, text, errors="backslashreplace")
    return Path(path)


def as_data(value: Any) -> Markup:
    """A value as JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(sources: Sequence[str]) -> str:
    """What a browser may do for the page: run these scripts, and use what the page carries."""
    digests = (hashlib.sha256(source.encode()).digest() for source in sources)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed};"
        " base-uri 'none'; form-action 'none'"
    )
