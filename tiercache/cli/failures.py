"""What goes wrong becomes one line on stderr and an exit code; a traceback is for our own defects alone."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn, TextIO

from ..errors import BackendError, ConfigurationError, PartialFailure, TiercacheError
from .output import say
from .streams import Closed, Unwritable, prepare

DONE = 0
NO = 1
"""The answer is no, or not well: a tier cannot be used, a key is not there, nothing matched where something had to."""
MISTAKE = 2
"""Options, configuration or an extra that is missing: the caller's to mend."""
FAILED = 3
"""A store failed on the way, or the output cannot be written."""
DEFECT = 70
"""Ours to mend: an error that nobody foresaw."""
INTERRUPTED = 130
UNREAD = 141
"""Who read the output has gone: the code that other programs end with then, of SIGPIPE."""


class Mistake(Exception):
    """The caller asked for what cannot be; the message says what to write instead. Exit code 2."""


class No(Exception):
    """The answer to what was asked is no; the message says so. Exit code 1."""


def reported(command: Callable[[], object]) -> NoReturn:
    """Run the command and exit with the code that its outcome has."""
    prepare()
    warnings.showwarning = _show_warning
    try:
        command()
    except No as answer:
        _end(str(answer), NO)
    except (Mistake, ConfigurationError) as error:
        _end(_told(error), MISTAKE)
    except TiercacheError as error:
        _end(_told(error), FAILED if isinstance(error, BackendError) else NO)
    except Unwritable as error:
        _end(str(error), FAILED)
    except Closed:
        sys.exit(UNREAD)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except Exception:  # noqa: BLE001 - it is shown whole, and has an exit code of its own
        traceback.print_exc()
        _end("this is a defect of tiercache: please report it, without what is secret in it", DEFECT)
    sys.exit(DONE)


def _end(message: str, code: int) -> NoReturn:
    say(message, style="red" if code in (MISTAKE, FAILED, DEFECT) else None)
    sys.exit(code)


def _told(error: BaseException) -> str:
    """The message with its notes; of a batch, the first error of each kind."""
    lines = [str(error) or type(error).__name__, *getattr(error, "__notes__", ())]
    if isinstance(error, PartialFailure):
        first = {type(each): each for each in reversed(list(error.failed.values()))}
        lines = [f"{len(error.failed)} of them failed", *(f"{type(each).__name__}: {each}" for each in first.values())]
    return "\n".join(lines)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning to somebody who did not write the line that it stems from."""
    say(f"warning: {message}", style="yellow")
