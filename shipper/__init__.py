"""Everything around the grammar: inputs, documents, the store, outputs, and the command.

Data flow one way::

    input ─► grammars.parse ─► document ─► store ─► output
"""
