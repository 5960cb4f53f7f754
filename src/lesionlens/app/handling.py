"""What happens when a handler fails: the person is told, and the app goes on."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from lesionlens.errors import LesionLensError

if TYPE_CHECKING:
    from lesionlens.app.session import Session

log = logging.getLogger("lesionlens.app")

P = ParamSpec("P")


def calling(work: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """Return a handler that calls ``work``, and awaits it if need be, whatever the event says."""

    async def handle(_event: Any) -> None:
        done = work(*arguments, **options)
        if inspect.isawaitable(done):
            await done

    return handle


def guarded(
    work: Callable[Concatenate[Any, P], Awaitable[None]],
) -> Callable[Concatenate[Any, P], Awaitable[None]]:
    """Make a controller's method show what goes wrong instead of leaving the person without a word.

    For methods of controllers that have ``self.session``. What LesionLens raises is said as it
    stands; anything else is logged with its traceback and said in general words. Nothing stays
    busy.
    """

    @functools.wraps(work)
    async def doing(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
        session: Session = self.session
        try:
            await work(self, *args, **kwargs)
        except LesionLensError as error:
            session.say(str(error), is_error=True)
        except Exception:
            log.exception("%s failed", work.__qualname__)
            session.say(session.texts("common.error_unexpected"), is_error=True)
        finally:
            session.state.busy = None

    return doing
