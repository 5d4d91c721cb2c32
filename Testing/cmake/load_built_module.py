"""Run by ctest without Slicer: loads the module from the build folder and sees that nothing of it stayed behind.

    python load_built_module.py engine BUILT SOURCE    the engine, its model cards, no torch
    python load_built_module.py module BUILT SOURCE    DeepRegister.py and its panel, in the Qt host

Exit status 77 says that the second part was skipped, for want of slicer-core or PySide6.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

SKIPPED = 77


def import_from_copy(name: str, built: Path):
    """Import a module and make sure that it is the copy."""
    module = importlib.import_module(name)
    path = Path(module.__file__).resolve()
    if not path.is_relative_to(built):
        raise SystemExit(f"{name} was imported from {path}, not from the built module in {built}")
    return module


def load_engine(built: Path, source: Path) -> None:
    import_from_copy("deepregister", built)
    registry = import_from_copy("deepregister.models.registry", built)
    cards = registry.list_models()
    expected = sorted(path.parent.name for path in (source / "deepregister" / "models").rglob("card.toml"))
    found = sorted(card.folder.name for card in cards)
    if found != expected or not found:
        raise SystemExit(f"the built module lists the model folders {found}, the source has {expected}")
    for card in cards:
        in_source = source / card.folder.resolve().relative_to(built)
        for path in in_source.rglob("*"):
            if path.suffix in (".toml", ".safetensors") and not (card.folder / path.relative_to(in_source)).is_file():
                raise SystemExit(f"{path} was not copied: the model {card.name} would not run")
    import_from_copy("deepregister.client", built)
    print(f"engine and {len(cards)} models load from {built}")


def load_module(built: Path) -> int:
    missing = [name for name in ("slicer", "PySide6") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not installed")
        return SKIPPED
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import headless_slicer
    from qt_host.host import Host

    headless_slicer.start()
    host = Host()
    module = host.load(built / "DeepRegister.py")
    widget = host.open(module)
    import_from_copy("DeepRegisterLib.panel", built)
    import_from_copy("DeepRegisterLib.scene", built)
    host.close(widget)
    host.check()
    print(f"DeepRegister.py and its panel load from {built}")
    return 0


def main() -> int:
    part, built, source = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    # An engine that is installed in this Python must not stand in for the copy.
    sys.path[:] = [str(built)] + [entry for entry in sys.path if Path(entry or ".").resolve() != source]
    if part == "module":
        status = load_module(built)
    else:
        load_engine(built, source)
        status = 0
    if "torch" in sys.modules:
        raise SystemExit("torch was imported into the process that stands for Slicer's")
    return status


if __name__ == "__main__":
    sys.exit(main())
