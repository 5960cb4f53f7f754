"""Work on many items side by side: results in order, a few ahead of who asks for them.

Threads, as what takes time here (decoding, hashing, the network) runs outside the interpreter
lock. ``Executor.map`` would begin all items at once and keep every result that waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield every item with its result, in order.

    When the caller stops asking, by an error or Ctrl-C too, what has begun ends and the rest
    never begins.

    Args:
        function: called from several threads.
        items: taken one by one as there is room.
        workers: threads; 1 works in the caller's.
        ahead: results begun before the first of them is asked for, at most.

    Raises:
        Whatever ``function`` raises, at that item's turn.
    """
    if workers == 1:
        for item in items:
            yield item, function(item)
        return
    from concurrent.futures import ThreadPoolExecutor  # 5 ms that one image need not wait for

    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="lesionlens")
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
