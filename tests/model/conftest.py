"""The recipe package lives beside the artefacts and outside `src`, so its folder joins the import path here."""

import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2] / "models" / "hush-tiny"
sys.path.insert(0, str(HOME))


@pytest.fixture(scope="session")
def model_folder() -> Path:
    return HOME
