"""Stands for a package that jsonschema takes if it is there, and builds a parser of IRIs with.

No notebook holds an IRI, and the parser takes a second of each process that reads a notebook.
``conftest.py`` puts this folder on the path of all processes that tests start.
"""

raise ImportError("of no use to notebooks: see tests/without_iri")
