"""What Slicer's Extensions Index checks of an extension, as far as it can be checked without its server."""

import json
import re
import subprocess

import pytest
from PIL import Image

# Of slicer-extension-catalog-entry-schema-v1.0.2.json.
REQUIRED = {"$schema", "category", "scm_url"}
ALLOWED = REQUIRED | {"build_dependencies", "build_subdirectory", "enabled", "scm_revision", "scm_type", "tier"}


@pytest.fixture
def entry(checkout):
    """The entry as submitted to the index."""
    return json.loads((checkout / "Resources/ExtensionsIndex/DeepRegister.json").read_text(encoding="utf-8"))


@pytest.fixture
def metadata(checkout):
    """The variables of the top CMakeLists.txt, read as the index reads them: as text."""
    text = (checkout / "CMakeLists.txt").read_text(encoding="utf-8")
    found = dict(re.findall(r'set\s*\((EXTENSION_\w+)\s*"([^"]+)"[ ]*\)', text))
    found["project"] = re.search(r"project\s*\(\s*([^\s)]+)", text)[1]
    return found


def test_the_entry_has_the_form_of_the_schema(entry):
    assert set(entry) >= REQUIRED
    assert set(entry) <= ALLOWED
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["category"] == "Registration"
    assert entry["tier"] in range(1, 6)


def test_the_entry_agrees_with_the_build_and_the_module(checkout, entry, metadata):
    module = (checkout / "DeepRegister" / "DeepRegister.py").read_text(encoding="utf-8")
    assert f'"{metadata["EXTENSION_HOMEPAGE"]}"' in module
    assert metadata["project"] == "DeepRegister"
    assert metadata["EXTENSION_DEPENDS"].split() == entry["build_dependencies"]
    assert entry["scm_url"] == f"{metadata['EXTENSION_HOMEPAGE']}.git"


def test_the_repository_is_named_as_the_index_wants_it(entry):
    assert re.fullmatch(r"https://github\.com/[\w-]+/Slicer\w+\.git", entry["scm_url"])


def test_icon_and_screenshots_are_in_the_checkout(checkout, metadata):
    base = metadata["EXTENSION_HOMEPAGE"].replace("https://github.com", "https://raw.githubusercontent.com") + "/main/"
    screenshots = metadata["EXTENSION_SCREENSHOTURLS"].split()
    assert screenshots
    for url in (metadata["EXTENSION_ICONURL"], *screenshots):
        assert url.startswith(base)
        with Image.open(checkout / url.removeprefix(base)) as image:
            assert image.format == "PNG"
            image.verify()
    with Image.open(checkout / metadata["EXTENSION_ICONURL"].removeprefix(base)) as icon:
        assert icon.size == (128, 128)


def test_the_description_is_short_and_plain(metadata):
    assert 40 < len(metadata["EXTENSION_DESCRIPTION"]) < 400
    assert "<" not in metadata["EXTENSION_DESCRIPTION"]


def test_licence(checkout):
    assert "Apache License" in (checkout / "LICENSE").read_text(encoding="utf-8")


def test_the_checkout_is_small_and_has_unix_line_ends(checkout):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [checkout / name for name in listed.stdout.decode().split("\0") if name]
    paths = [path for path in paths if path.is_file()]
    # The index counts the history too and refuses 100 MB.
    assert sum(path.stat().st_size for path in paths) < 40e6
    text = {".py", ".txt", ".cmake", ".md", ".ui", ".json", ".toml", ".yml"}
    assert [path for path in paths if path.suffix in text and b"\r" in path.read_bytes()] == []
