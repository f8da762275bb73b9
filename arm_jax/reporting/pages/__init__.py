"""HTML pages that are one file each: they open from a disk or a mail, and fetch nothing.

Plain values enter; the text of a page leaves. The package knows no run and draws no figure of
matplotlib. A page is a template of this folder that extends `base.html`:

    from arm_jax.reporting import pages

    text = pages.render("mine.html", title="Mine", scores=table)     # or
    pages.write(folder / "mine.html", "mine.html", scripts=("mine.js",), title="Mine", scores=table)

    {% extends "base.html" %}
    {% import "parts.html" as parts %}
    {% block content %}{{ parts.table(scores) }}{% endblock %}

Everything is escaped, whatever characters names have, and a missing value is an error. Pages carry
a content security policy: no network, and no script but `page.js` and the files that `scripts`
names, which stand in this folder too. Data for a script goes through `parts.data(id, value)`, and
`pageData(id)` of page.js reads it.

rendering  templates to text
images     arrays to data URIs, within a size
tables     tables: aligned numbers, sortable columns
charts     lines and bars as SVG, with the values under the pointer

parts.html has the macros for all of these, page.css the look (light, dark, phone, print), page.js
what moves: layers of an image under one slider, sortable tables, values under the pointer.
"""

from arm_jax.reporting.pages.images import Layer, Picture, drawing, photo
from arm_jax.reporting.pages.rendering import render, write
from arm_jax.reporting.pages.tables import Cell, Column, Table

__all__ = ["Cell", "Column", "Layer", "Picture", "Table", "drawing", "photo", "render", "write"]
