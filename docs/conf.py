"""How Sphinx builds the documentation: `make docs`."""

import ddpm

project, author, release = "fused-ddpm", "the fused-ddpm authors", ddpm.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# the tutorial is executed at each build, and an error in it stops the build
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

default_role = "code"  # docstrings write code in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
