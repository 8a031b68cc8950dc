"""The README's listing for a notebook, run in a virtual environment with pyspark, Keras and JAX and without Airflow."""

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from airflow_provider_distkeras.hooks.spark_environment import find_java_home

pytestmark = pytest.mark.spark

REPOSITORY = Path(__file__).parents[2]
#: What a notebook needs beside this package.
REQUIREMENTS = ("pyspark", "keras", "jax", "numpy", "pandas", "pyarrow", "matplotlib")
#: Sizes of the listing, and the small ones that the test uses in their place.
SIZES = {
    "num_workers=8": "num_workers=2",
    '"num_workers": 8': '"num_workers": 2',
    '"batch_size": 256': '"batch_size": 16',
    "[12, 2000, 300, 1]": "[12, 16, 8, 1]",
    "[0.20, 0.35, 0.50]": "[0.0, 0.20]",
    "numFolds=3": "numFolds=2",
}
CHECKS = """
import importlib.util
import numpy as np
import pandas
import airflow_provider_distkeras
from airflow_provider_distkeras.contract.errors import SpecError

assert "site-packages" in airflow_provider_distkeras.__file__, airflow_provider_distkeras.__file__
assert importlib.util.find_spec("airflow") is None
assert dict(df_pred.dtypes)["prediction"] == "double"
test = pandas.read_csv("test.csv").drop(columns=["instant"])
network = cv_model.bestModel.keras_network()
expected = np.column_stack([test.pop("cnt"), network.predict(test.to_numpy("float32"), verbose=0)])
received = np.array(df_pred.select("label", "prediction").collect())
assert received.shape == (100, 2), received.shape
order = lambda pairs: pairs[np.argsort(pairs[:, 0])]
np.testing.assert_allclose(order(received), order(expected), rtol=1e-4)
assert len(cv_model.avgMetrics) == 4, cv_model.avgMetrics
loss = cv_model.bestModel.summary.loss
assert len(loss) == 10, loss
assert loss[-1] < loss[0], loss
try:
    DistKeras(trainers.ADAG, backend="tensorflow").fit(df_train)
except SpecError as error:
    assert "airflow-provider-distkeras[tensorflow]" in str(error), error
else:
    raise AssertionError("a missing backend is an error that names its extra")
print("checked")
"""


def listing():
    """The first Python listing below the README's heading for notebooks."""
    section = (REPOSITORY / "README.md").read_text().split("\n## In a notebook\n", 1)[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def write_rows(path, rows, seed):
    values = np.random.default_rng(seed).uniform(-1, 1, (rows, 12))
    label = 3 + values[:, :3].sum(axis=1)
    names = [f"x{number}" for number in range(12)]
    lines = [
        ",".join([str(n), *(f"{v:.4f}" for v in row), f"{y:.4f}"]) for n, (row, y) in enumerate(zip(values, label, strict=True))
    ]
    path.write_text("\n".join([",".join(["instant", *names, "cnt"]), *lines]) + "\n")


def with_requirements(names):
    """The installed distributions of these names and of all that they need."""
    distributions = {}
    names = [*names]
    while names:
        name = canonicalize_name(names.pop())
        if name not in distributions:
            distributions[name] = distribution(name)
            needed = map(Requirement, distributions[name].requires or [])
            names += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return distributions.values()


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that has what a notebook needs, and this package as it would be installed.

    What is installed beside the tests is linked from there: to install it again takes minutes.
    """
    folder = tmp_path_factory.mktemp("notebook")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    executable = str(folder / "bin" / "python")
    (site_packages,) = folder.glob("lib/python*/site-packages")
    for each in with_requirements(REQUIREMENTS):
        for part in {file.parts[0] for file in each.files} - {"..", "__pycache__"}:
            (site_packages / part).symlink_to(each.locate_file(part))
    pip = [executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, str(REPOSITORY)], check=True, timeout=1200)
    return executable


def test_the_listing_predicts_without_airflow(python, tmp_path):
    script = listing()
    for full, small in {**SIZES, "/path/": f"{tmp_path}/"}.items():
        assert full in script
        script = script.replace(full, small)
    write_rows(tmp_path / "train.csv", 400, seed=0)
    write_rows(tmp_path / "test.csv", 100, seed=1)
    (tmp_path / "listing.py").write_text(script + CHECKS)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "SPARK", "PYSPARK", "PYTHON"))}
    environment = inherited | {"JAVA_HOME": str(find_java_home()), "KERAS_BACKEND": "jax", "SPARK_LOCAL_IP": "127.0.0.1"}

    run = subprocess.run([python, "listing.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)

    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.splitlines()[-1] == "checked"
