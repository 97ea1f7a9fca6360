"""Everything around the grammar.

The way of the data is one line::

    input ─► grammars.parse ─► document ─► store ─► output
"""
