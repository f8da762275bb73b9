"""A griffe extension: what our docstrings write shorter than mkdocstrings reads.

Examples (`>>>`) become code; they would be Markdown's quotations. Arguments that share a
description, `labels, believed: ...`, become one entry each.
"""

import re

import griffe

EXAMPLE = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
# An entry of several names and its text, with the lines that are indented deeper.
SHARED = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    def on_object(self, *, obj, **kwargs):
        if not obj.docstring:
            return
        text = EXAMPLE.sub(lambda part: f"```pycon\n{part[0].rstrip()}\n```", obj.docstring.value)
        obj.docstring.value = SHARED.sub(
            lambda part: "\n".join(f"{part[1]}{name}: {part[3]}" for name in part[2].split(", ")),
            text,
        )
