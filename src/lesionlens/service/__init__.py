"""``lesionlens serve``: the classifier behind HTTP, for other systems.

`serving` runs it; what it says stands in `documents`, how it is asked in docs/serve.md.
"""
