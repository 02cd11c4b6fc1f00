"""Frame plans: what a device computes for each frame of one rendition, chosen when the title was trained.

An action is nothing (the plain picture), to carry the gain of the frame before along the codec's motion, or to run the
network up to one of its exits. A file of a plan holds, integers little-endian:

    MAGIC             8 bytes
    weights           32 bytes, the sha256 of the weights that it was made for
    exits             1 byte, 1 to EXITS_MAX
    frames            4 bytes, of all segments together
    actions           zlib: two frames a byte, the first of them in the low four bits; some 1.2 bits a frame

Plans come from the network: nothing in one is taken on trust.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from abr.errors import FormatError

MAGIC = b"toprfp1\n"
EXITS_MAX = 6
FRAMES_MAX = 1 << 24
_HEAD_BYTES = len(MAGIC) + 32 + 1 + 4
_FRAME_BITS = 4
_ENDS_MAX = 1024
"""Bytes that zlib may add to what it cannot compress."""

Actions = npt.NDArray[np.uint8]


class Action(IntEnum):
    """What is done for a frame. Exit k, counted from 1, is FIRST_EXIT + k - 1."""

    NOTHING = 0
    CARRY = 1
    FIRST_EXIT = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramePlan:
    """The actions of a title's frames for one rendition. exits: how many its network has.

    actions: uint8 (frames,) of each segment. The first frame of a segment is never carried: it is a key frame.
    """

    weights_sha256: str
    exits: int
    actions: tuple[Actions, ...]

    def shares(self) -> tuple[float, ...]:
        """Of all frames, the share of each action: nothing, carry, exit 1 … n."""
        counts = np.bincount(np.concatenate(self.actions), minlength=Action.FIRST_EXIT + self.exits)
        return tuple((counts / counts.sum()).tolist())

    def check(self) -> None:
        """Raises FormatError for a plan that nobody could follow."""
        if not 1 <= self.exits <= EXITS_MAX:
            raise FormatError(f"A frame plan is for a network of {self.exits} exits; expected 1 to {EXITS_MAX}.")
        for segment, actions in enumerate(self.actions):
            if len(actions) == 0 or actions.max() >= Action.FIRST_EXIT + self.exits:
                raise FormatError(f"A frame plan has no frames, or an unknown action, in segment {segment}.")
            if actions[0] == Action.CARRY:
                raise FormatError(f"A frame plan carries into segment {segment}, which begins with a key frame.")


def upscale_name(scale: float) -> str:
    """What a device profile calls the plain picture for the display of networks of this scale: upscale-x4."""
    return f"upscale-x{scale:g}"


def carry_name(scale: float) -> str:
    """What a device profile calls carrying what a network of this scale added: carry-x4."""
    return f"carry-x{scale:g}"


def dumps_plan(plan: FramePlan) -> bytes:
    """The file of a plan. The inverse of `loads_plan`. Raises FormatError for a plan that nobody could follow."""
    plan.check()
    actions = np.concatenate(plan.actions)
    pairs = np.pad(actions, (0, len(actions) % 2)).reshape(-1, 2)
    packed = (pairs[:, 0] | pairs[:, 1] << _FRAME_BITS).tobytes()
    head = MAGIC + bytes.fromhex(plan.weights_sha256) + bytes([plan.exits]) + len(actions).to_bytes(4, "little")
    return head + zlib.compress(packed, 9)


def loads_plan(data: bytes, segment_frames: Sequence[int], what: str = "this frame plan") -> FramePlan:
    """The plan in a file, for a title with so many frames in each segment. Raises FormatError saying what is wrong."""
    if len(data) < _HEAD_BYTES or not data.startswith(MAGIC):
        raise FormatError(f"{what} is not a frame plan of this version.")
    weights, exits = data[len(MAGIC) : len(MAGIC) + 32], data[_HEAD_BYTES - 5]
    frames, expected = int.from_bytes(data[_HEAD_BYTES - 4 : _HEAD_BYTES], "little"), sum(segment_frames)
    if frames != expected or frames > FRAMES_MAX:
        raise FormatError(f"{what} is for {frames} frames; the title has {expected}.")
    if not 1 <= exits <= EXITS_MAX:
        raise FormatError(f"{what} is for a network of {exits} exits; expected 1 to {EXITS_MAX}.")
    packed = np.frombuffer(_decompress(data[_HEAD_BYTES:], (frames + 1) // 2, what), np.uint8)
    actions = np.stack([packed & 15, packed >> _FRAME_BITS], axis=1).ravel()
    if actions[frames:].any():
        raise FormatError(f"{what} has an action behind its last frame.")
    actions = actions[:frames]
    ends = tuple(accumulate(segment_frames))
    plan = FramePlan(weights_sha256=weights.hex(), exits=exits, actions=tuple(np.split(actions, ends[:-1])))
    plan.check()
    return plan


def _decompress(data: bytes, size_bytes: int, what: str) -> bytes:
    """Exactly so many bytes, and never more memory than they take."""
    if len(data) > size_bytes + _ENDS_MAX:
        raise FormatError(f"{what} is longer than its frames need.")
    stream = zlib.decompressobj()
    try:
        packed = stream.decompress(data, size_bytes + 1)
    except zlib.error as error:
        raise FormatError(f"{what} is damaged: {error}.") from error
    if len(packed) != size_bytes or not stream.eof or stream.unused_data:
        raise FormatError(f"{what} is damaged: its actions end too early or too late.")
    return packed
