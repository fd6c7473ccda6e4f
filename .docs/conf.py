"""Sphinx's configuration; `.ci/docs OUT` builds the site."""

import pathlib
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

facts = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
project = "flowzoo"
author = "the flowzoo authors"
copyright = "the flowzoo authors, Apache-2.0"
version = release = facts["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "links",
    "mathml",
]
exclude_patterns = ["_static"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "html_image"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 76
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

smartquotes = False

html_theme = "furo"
html_favicon = "_static/favicon.svg"
html_title = "flowzoo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("sort.js", {"defer": "defer"})]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "source_repository": facts["urls"]["Repository"],
    "source_branch": "main",
    "source_directory": ".docs/",
    "light_css_variables": {"color-brand-primary": "#b3440e", "color-brand-content": "#9a3a0b"},
    "dark_css_variables": {"color-brand-primary": "#ff9b62", "color-brand-content": "#ff9b62"},
    "footer_icons": [],
    "top_of_page_buttons": [],
}
