"""Where the packaged app starts: `flet build` runs this file (pyproject.toml, [tool.flet.app]).

``assets`` beside it is a link to the app's own, as Flet looks for icon, splash and pictures there.
"""

from lesionlens.app.main import run_embedded

if __name__ == "__main__":
    run_embedded()
