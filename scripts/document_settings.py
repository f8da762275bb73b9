"""Write docs/settings.md, the table of every setting, from the rows of arm_jax/settings/rows.py.

python scripts/document_settings.py
"""

import itertools
import sys
from pathlib import Path

from arm_jax import settings
from arm_jax.consistency import TABLES
from arm_jax.reporting import markdown
from arm_jax.settings.rows import Setting
from arm_jax.system.values import Choice

FILE = Path(__file__).parents[1] / "docs" / "settings.md"
# ruff: noqa: E501
HEAD = """# Every setting

Made by `scripts/document_settings.py` from the rows of [`arm_jax/settings/rows.py`](../arm_jax/settings/rows.py). Give any of them as
`--config.KEY=VALUE`; a tuple as `64,64` or `"(64, 64)"`, class names as `road,building,sky`. The defaults are the
paper's; the files of `configs/` and their rows change some of them, which `--mode show` lists with this help.

A run records its settings in `config.json`. What a setting decides is what happens when it is given another value later:

| decides | when the run continues | when it is evaluated, predicts or reports |
|---|---|---|
| network | refused | refused: a run knows its own network |
| training | refused, but `steps` may grow | the run keeps its own value, and both are named |
| data, scores | refused | taken, and named |
| nothing | taken, and named: it changes neither weights nor scores | taken, and named |

With more steps the fractions of the longer run hold from there on: its learning rate, its drops. For another learning
rate, schedule, loss or data, start a new run from the weights of the old one, `--config.model.pretrained=runs/old`: its
best checkpoint, without its ARM; a classifier of another number of classes starts fresh.
"""


def main() -> int:
    FILE.write_text(text())
    print(f"wrote {FILE}")
    return 0


def text() -> str:
    """The whole document."""
    parts = [HEAD]
    for section, rows in itertools.groupby(sorted(settings.SETTINGS, key=_order), key=_section):
        title = f"`{section}`" if section else "The run"
        table = markdown.table(["key", "default", "valid", "decides", "help"], map(_cells, rows))
        parts.append(f"\n## {title}\n\n{table}\n")
    return "".join(parts)


def _order(row: Setting) -> int:
    """Those of no section first, as they stand."""
    return bool(_section(row))


def _section(row: Setting) -> str:
    return row.key.rpartition(".")[0]


def _cells(row: Setting) -> tuple[str, ...]:
    names = tuple(TABLES.get(row.key, ()))
    valid = Choice(names).describe() if names else row.kind.describe()
    return f"`{row.key}`", f"`{row.default!r}`", valid, row.decides, row.help


if __name__ == "__main__":
    sys.exit(main())
