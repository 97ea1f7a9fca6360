"""Everything around the grammar.

The way of the data is one line::

    input ─► grammars.parse ─► document ─► store ─► output
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
