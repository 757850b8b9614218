"""The public surface of the room, and what importing it costs."""

import subprocess
import sys
from pathlib import Path

import beton_builder
from beton_builder import errors


def test_all_names_resolve_and_are_all_there_is() -> None:
    assert all(getattr(beton_builder, name) is not None for name in beton_builder.__all__)
    assert set(beton_builder.__all__) == set(beton_builder._HOMES)
    assert set(beton_builder.__all__) <= set(dir(beton_builder))


def test_every_error_is_in_the_tree_and_in_the_drawing() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert all(issubclass(cls, errors.BetonError) for cls in classes)
    assert all(cls.__name__ in str(errors.__doc__) for cls in classes)
    assert {cls.__name__ for cls in classes} <= set(beton_builder.__all__)
    damage = {cls.__name__ for cls in classes if cls.exit_code == 1}
    assert damage == {"DamagedDataset", "UnfinishedBeton", "DamagedSample"}


def test_importing_the_room_imports_nothing_heavy() -> None:
    heavy = ("torch", "ffcv", "zarr", "pyarrow", "PIL", "numpy", "cv2")
    code = f"import beton_builder, sys; print([m for m in {heavy} if m in sys.modules])"
    root = Path(beton_builder.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout == "[]\n"


def test_building_and_reading_need_neither_torch_nor_ffcv(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, ffcv=None, cv2=None, zarr=None)\n"
        "sys.path.insert(0, 'tests/beton_builder')\n"
        "from beton_samples import small_folder; from pathlib import Path\n"
        "from beton_builder import build_beton, open_dataset, verify_dataset\n"
        "place = Path(sys.argv[1])\n"
        "build_beton(small_folder(place / 'a'), place / 'b')\n"
        "print(open_dataset(place / 'b').split('train').image(0).shape)\n"
        "print(verify_dataset(place / 'b')['ok'])\n"
    )
    root = Path(beton_builder.__file__).parents[1]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stdout == "(20, 30, 3)\nTrue\n", done.stderr
