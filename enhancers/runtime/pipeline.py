"""Decoding and enhancing in parallel: frames come out in order, and queues are bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.frames import Frame


def enhance_frames(frames: Iterator[Frame], enhancers: Sequence[Enhancer]) -> Generator[Frame, None, None]:
    """Enhance every frame of `frames`, in order.

    enhancers: equal ones, each used by one thread at a time; as many frames are enhanced at once. Decoding goes on in
    the caller's thread meanwhile, at most one frame an enhancer ahead. Errors of either side come out here.
    """
    free: SimpleQueue[Enhancer] = SimpleQueue()
    for enhancer in enhancers:
        free.put(enhancer)

    def lift(frame: Frame) -> Frame:
        enhancer = free.get()
        try:
            return enhancer.enhance(frame)
        finally:
            free.put(enhancer)

    waiting: deque[Future[Frame]] = deque()
    with ThreadPoolExecutor(len(enhancers), thread_name_prefix="toprung-enhance") as pool:
        try:
            for frame in frames:
                waiting.append(pool.submit(lift, frame))
                if len(waiting) > 2 * len(enhancers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
