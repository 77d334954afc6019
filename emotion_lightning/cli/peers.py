"""How a command ends where it runs in several processes: one line says why, and all have the status of the error."""

from contextlib import suppress

from emotion_lightning.errors import PeerError
from emotion_lightning.runtime.launched import GONE, Ending, is_first_here, launched


def wait_for_others() -> None:
    """Wait until the processes that torchrun has started are ready to train or measure, if it has.

    Raises:
        PeerError: One of them ends by an error instead.
    """
    if (group := launched()) and (ending := group.wait_until_ready()):
        raise _peer_error(ending, group.machine)


def is_to_say(status: int, message: str, of_all_ranks: bool) -> bool:
    """Tell the other processes how this one ends, where they do not know; return whether it is the one that says so."""
    if of_all_ranks:
        return is_first_here()
    with suppress(RuntimeError):  # torchrun is gone, and its store with it
        if group := launched():
            return group.end(status, message)
    return True


def peer_error(error: RuntimeError) -> PeerError | None:
    """Return how another process has ended, where that is what ``error`` comes of."""
    if not any(sign in str(error) for sign in GONE):
        return None
    with suppress(RuntimeError):
        if (group := launched()) and (ending := group.first_ending()):
            return _peer_error(ending, group.machine)
    return PeerError("another process of the run has ended: what it said last tells why")


def _peer_error(ending: Ending, machine: int) -> PeerError:
    """Repeat what a process of another machine says; on its own it is read already."""
    said = "" if ending.machine == machine else f"process {ending.rank} has ended: {ending.message}"
    return PeerError(said, ending.status)
