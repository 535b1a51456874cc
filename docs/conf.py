"""How Sphinx makes the site of these pages: `make docs`."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ["COLUMNS"] = "80"  # of the commands' help

project = "oneway"
copyright = "the authors of oneway"
release = metadata.version("oneway")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["*.py", "__pycache__"]
nitpicky = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
python_maximum_signature_line_length = 80
default_role = "code"
smartquotes = False  # which would make one dash of the two before a flag

html_theme = "furo"
html_title = "oneway"
html_show_sphinx = False
html_copy_source = False
html_static_path: list[str] = []
pygments_style = "default"
highlight_language = "none"  # of blocks that name no language: commands


def setup(app: Any) -> None:
    """Make the pages of reference before Sphinx looks for pages."""
    from pages import write

    write(HERE / "reference")
    app.connect("source-read", to_pages)
    app.connect("autodoc-process-docstring", keep_stars)


def to_pages(_: Any, docname: str, source: list[str]) -> None:
    """Let links to files of the repository's root lead to their pages of this site, and to code to nothing."""
    from pages import FROM_ROOT

    above = "../" * docname.count("/")
    for name, file in FROM_ROOT.items():
        source[0] = source[0].replace(f"]({above}../{file}", f"]({above}reference/{name}.md")
    source[0] = re.sub(rf"\[([^]]+)\]\({above}\.\./src/[^)]+\)", r"`\1`", source[0])


def keep_stars(_: Any, _kind: str, _name: str, _made: Any, _options: Any, lines: list[str]) -> None:
    """Let the star of a shape such as (n, *shape) be one."""
    lines[:] = [re.sub(r"\*(?=\w)", r"\\*", line) for line in lines]
