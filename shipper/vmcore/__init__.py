"""The dump of a crash, opened by drgn (https://drgn.readthedocs.io) where its text does not explain it.

``kpanic[vmcore]`` installs drgn. A dump is opened in a process of its own (:mod:`.process`), which answers
the questions that the verdict raises (:mod:`.questions`) with what it finds; :mod:`.reading` makes steps and
a new verdict of the answers.
"""

from __future__ import annotations
