"""What documents look like inside an engine and on a screen.

Panels are written once, as data; each renderer is one file. Nothing here knows of inputs, outputs
or the grammar.
"""
