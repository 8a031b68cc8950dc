"""The zip of this package that travels to the cluster by --py-files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import airflow_provider_distkeras

PACKAGE = Path(airflow_provider_distkeras.__file__).parent
#: The rooms that a job imports: Spark's side and the contract. Airflow's side stays at home.
ROOMS = ("contract", "jobs", "ml", "spark", "training")


def zip_package(directory: Path) -> Path:
    """Write a zip of the installed package, so that the cluster runs the code of this operator; return its path.

    Args:
        directory: Where to write the zip; the name is the package's.
    """
    archive = directory / f"{PACKAGE.name}.zip"
    files = [PACKAGE / "__init__.py", *(file for room in ROOMS for file in sorted((PACKAGE / room).rglob("*")))]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                target.write(file, file.relative_to(PACKAGE.parent))
    return archive


def job_file(kind: str) -> Path:
    """Return the program that spark-submit runs for a kind of job."""
    return PACKAGE / "jobs" / f"{kind}.py"
