"""Hooks of the site (mkdocs.yml): pages that are not files of docs/, and links that leave docs/.

The Markdown files are written for a reader of the repository. Here the README becomes the first
page, the notebook a page with its outputs, and each page below `api/` that mkdocs.yml names the
reference of that module. A relative link to a file that is a page stays a link. One to another file
of the repository becomes a link into the repository, if `extra.repository` is its address, and
plain text if not. A relative link to a file that does not exist is an error, and so is a page that
would load something from another host.
"""

import base64
import json
import logging
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
# Pages and the files of the repository that they are made from.
MADE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "notebook.md": "scripts/explore.ipynb",
}
# What is left out beside wide pages.
HIDDEN = {"index.md": ["navigation"], "gallery.md": ["navigation", "toc"]}
API = re.compile(r"^api/(arm_jax[\w.]*)\.md$")
# Code is matched first, so that nothing in it is taken for a link.
LINK = re.compile(
    r"^```.*?^```$|^ {4}.*?$|`[^`]+`|(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
# A list without an empty line before it: a list for GitHub, a part of the paragraph here.
RUN_ON = re.compile(r"<p>(?:(?!</p>).)*?\n(?:[-*|]|\d+\.) (?:(?!</p>).)*?</p>", re.DOTALL)
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)"
)
log = logging.getLogger("mkdocs.plugins.arm_jax")


def on_files(files, config):
    for page, origin in MADE.items():
        if origin.endswith(".ipynb"):
            content, images = notebook(ROOT / origin, config)
            for name, data in images.items():
                files.append(File.generated(config, name, content=data))
        else:
            content = (ROOT / origin).read_text()
        files.append(File.generated(config, page, content=content))
    modules = [API.match(entry) for entry in entries(config.nav)]
    modules = [match[1] for match in modules if match]
    for module in modules:
        content = f"---\ntitle: {module}\n---\n\n# `{module}`\n\n::: {module}\n"
        files.append(File.generated(config, f"api/{module}.md", content=content))
    files.append(File.generated(config, "api/index.md", content=index(modules)))
    return files


def on_page_markdown(markdown, page, config, files):
    here = page.file.src_uri
    if here in HIDDEN:
        page.meta["hide"] = HIDDEN[here]
    if API.match(here) or here == "api/index.md":
        return markdown
    origin = MADE.get(here, f"docs/{here}")
    return LINK.sub(lambda found: link(found, here, origin, config, files), markdown)


def on_page_content(html, page, config, files):
    if not API.match(page.file.src_uri):
        for found in RUN_ON.findall(html):
            line = found.splitlines()[0]
            log.warning("%s: an empty line is missing behind %s", page.file.src_uri, line)
    return html


def on_post_page(output, page, config):
    for address in LOADED.findall(output):
        log.warning("%s loads %s; pages load nothing from another host", page.file.src_uri, address)
    return output


def link(found, here, origin, config, files):
    """The text for one link of the page `here`, made from the repository's file `origin`."""
    target = found["target"]
    if target is None or re.match(r"[a-z]+:|#|//", target):
        return found[0]
    if here in MADE and files.get_file_from_path(target) is not None:
        return found[0]  # an image of the notebook
    path, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    if not (ROOT / path).exists():
        log.warning("%s links to %s, which does not exist", origin, target)
        return found[0]
    page = {file: page for page, file in MADE.items()}.get(path, path.removeprefix("docs/"))
    entry = files.get_file_from_path(page)
    if entry is not None and not entry.inclusion.is_excluded():
        to = posixpath.relpath(page, posixpath.dirname(here) or ".")
        return f"{found['mark']}[{found['text']}]({to}{'#' + anchor if anchor else ''})"
    if address := config.extra["repository"]:
        return f"[{found['text']}]({address.rstrip('/')}/blob/main/{path})"
    return found["text"] if found["text"].strip("`") in path else f"{found['text']} (`{path}`)"


def entries(nav):
    """All files that a navigation names."""
    for entry in nav:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            yield from entries(value) if isinstance(value, list) else [value]


def index(modules):
    """The list of modules, each with the first line of its docstring."""
    lines = ["---", "title: Modules", "---", "", "# Modules", ""]
    lines += [
        "What a program of your own imports. Every other public function has a docstring too.",
        "",
    ]
    for module in modules:
        path = ROOT / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        first = path.read_text().removeprefix('"""').split("\n\n")[0].split('"""')[0]
        lines.append(f"- [`{module}`]({module}.md): {' '.join(first.split())}")
    return "\n".join(lines) + "\n"


def notebook(path, config):
    """The Markdown of a notebook with its outputs, and its images by name."""
    parts, images = [], {}
    if re.match(r"https://github\.com/", address := config.extra["repository"]):
        place = address.removeprefix("https://github.com").rstrip("/")
        to = f"https://colab.research.google.com/github{place}/blob/main/scripts/explore.ipynb"
        parts.append(f"[Open in Colab]({to}){{ .md-button }}")
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"notebook/{len(images)}.png"
                images[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![Output of the cell]({name})")
            else:
                text = output.get("text", data.get("text/plain", []))
                parts.append(f"```text\n{''.join(text).rstrip()}\n```")
    # Below a page's title; links are relative to the notebook's own folder.
    text = "\n\n".join(parts)
    return (
        text if text.startswith("# ") else re.sub(r"(?s)^(.*?)(# [^\n]+\n)", r"\2\n\1", text)
    ), images
