import sys
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from airflow_provider_distkeras.ml import show


@pytest.fixture
def figure():
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    return figure


def test_a_plain_console_gets_a_file(figure, capsys):
    show(figure)
    path = capsys.readouterr().out.removeprefix("Figure saved to ").strip()
    with open(path, "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_zeppelin_gets_html(figure, capsys, monkeypatch):
    monkeypatch.setenv("ZEPPELIN_HOME", "/opt/zeppelin")
    show(figure)
    printed = capsys.readouterr().out
    assert printed.startswith("%html <div>")
    assert "<svg" in printed


def test_jupyter_displays_it(figure, monkeypatch):
    shown = []
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
    show(figure)
    assert shown == [figure]
