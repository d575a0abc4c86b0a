"""Makes one test of each dialog in a folder."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.dialogs import script
from tests.dialogs.script import Dialog

T = TypeVar("T", bound=type)
FOLDER = Path(__file__).parent


def every_dialog(folder: str, *, over_memory: bool) -> Callable[[T], T]:
    """Give a test class one test for each dialog of `folder`; it has a coroutine `hold(dialog)`."""

    def decorate(cls: T) -> T:
        for path in sorted((FOLDER / folder).glob("*.txt")):
            dialog = script.read(path)
            if over_memory or not dialog.memory_only:
                test = _test(dialog)
                test.__name__ = f"test_{dialog.name}"
                setattr(cls, test.__name__, test)
        return cls

    return decorate


def _test(dialog: Dialog) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def test(self: Any) -> None:
        await self.hold(dialog)

    return test
