"""What all tests share: `--long`, the real data, and a torch that each test finds as it was.

Nothing heavy is imported here; torch is looked at only once a test has loaded it.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` also runs the tests that are marked as taking minutes."""
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes")


def pytest_configure(config: pytest.Config) -> None:
    """Judge property tests by what they find, not by how busy the machine is; let Ctrl-C work.

    A shell starts what it runs in the background with SIGINT ignored, which children inherit.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "engine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
    settings.load_profile("engine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out unless they were asked for."""
    if config.getoption("--long"):
        return
    long_items = [item for item in items if item.get_closest_marker("long")]
    if long_items:
        config.hook.pytest_deselected(items=long_items)
        items[:] = [item for item in items if item not in long_items]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with `cifar100/` and `imagenet-sample/`: `$ENGINE_DATA`, or beside the checkout."""
    named = os.environ.get("ENGINE_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not (folder / "cifar100").is_dir():
        pytest.skip(
            f"the real images aren't at {folder}; set ENGINE_DATA to the folder that holds "
            "cifar100/ and imagenet-sample/"
        )
    return folder


@pytest.fixture(scope="session")
def fashion_mnist_source() -> Path:
    """Folder with Fashion-MNIST's four IDX files, as Debian's package installs them."""
    if not (FASHION_MNIST / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"Fashion-MNIST isn't at {FASHION_MNIST}; install dataset-fashion-mnist")
    return FASHION_MNIST


@pytest.fixture(autouse=True)
def torch_left_as_found() -> Iterator[None]:
    """Undo what a test changes in torch for the whole process: threads, dtype, determinism."""
    before = _torch_state()
    yield
    after = _torch_state()
    if before is None or after is None or before == after:
        return
    torch = sys.modules["torch"]
    torch.set_num_threads(before[0])
    torch.set_default_dtype(before[1])
    torch.use_deterministic_algorithms(before[2])


def _torch_state() -> tuple[int, object, bool] | None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return None
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    )
