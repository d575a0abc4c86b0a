"""The garbage collector of a process that serves: it does not look again through what was built at the start."""

import gc


def settle() -> None:
    """Leave what is there now out of every collection; call it once, when everything is built.

    A full collection runs in one turn of the reactor: 25 ms for the modules of a child alone, 60 ms for a whole server
    of one process. `release` undoes it.
    """
    gc.collect()
    gc.freeze()


def release() -> None:
    """Let the collector look at everything again, before what was built is dropped."""
    gc.unfreeze()
