"""Show a figure wherever the code runs."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show(figure: Figure) -> None:
    """Display a matplotlib figure: inline in Jupyter, as `%html` in Zeppelin-style notebooks, else in a window or as a file.

    On a plain console without a display, the figure is saved as a PNG and its path printed.
    """
    if _in_jupyter():
        from IPython.display import display

        display(figure)
    elif _in_zeppelin():
        svg = io.StringIO()
        figure.savefig(svg, format="svg")
        print(f"%html <div>{svg.getvalue()}</div>")
    elif getattr(figure.canvas.manager, "show", None) is not None and _has_display():
        figure.show()
    else:
        with tempfile.NamedTemporaryFile(prefix="figure-", suffix=".png", delete=False) as file:
            figure.savefig(file, format="png", dpi=120)
        print(f"Figure saved to {file.name}")


def _in_jupyter() -> bool:
    """Whether an IPython kernel (not the IPython console) runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _in_zeppelin() -> bool:
    context = getattr(sys.modules.get("__main__"), "z", None)
    return "ZEPPELIN_HOME" in os.environ or "Zeppelin" in type(context).__name__


def _has_display() -> bool:
    import matplotlib

    return matplotlib.get_backend().lower() not in ("agg", "svg", "pdf", "ps", "cairo", "template")
