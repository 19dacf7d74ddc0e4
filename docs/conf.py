"""Sphinx's configuration. The site, from the root of the repository:

    pip install -e ".[onedl,docs]"
    sphinx-build --fail-on-warning --keep-going -c docs . work_dirs/site

and then open work_dirs/site/index.html. The sources start at the root, so that links between the
README, docs/ and the READMEs of configs/ are the same on the site and in the repository.
"""

from mmdino import __version__

project = "mmdino"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**", "configs/*/README.md"]
myst_heading_anchors = 4  # as in the repository's pages, #words-of-the-heading

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"mmdino {release}"
html_extra_path = ["html"]  # its index.html leads to the root page
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
