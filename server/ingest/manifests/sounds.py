"""When segments of pictures and of sounds begin and end, and which sounds a manifest offers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import msgspec

from abr.core.title import AudioTrack, Title
from server.ingest.encoders.sound import AAC, frame_ends, sound_codec


def segment_ends_s(segment_frames: Sequence[int], rate: Fraction) -> list[Fraction]:
    """Exact media time at which each segment ends."""
    ends, frames = [], 0
    for count in segment_frames:
        frames += count
        ends.append(frames / rate)
    return ends


def sound_samples(title: Title, track: AudioTrack) -> list[int]:
    """Samples of each segment of a sound: whole packets of its codec, nearest to the pictures'."""
    codec = sound_codec(track.codecs)
    ends = frame_ends(segment_ends_s(title.segment_frames, Fraction(*title.frame_rate)), codec)
    return [(end - start) * codec.frame_samples for start, end in pairwise([0, *ends])]


def sound_durations_s(title: Title, track: AudioTrack) -> list[float]:
    """The same in seconds."""
    return [samples / track.sample_rate_hz for samples in sound_samples(title, track)]


def for_sessions(title: Title) -> Title:
    """The title with the sounds that all players play: a session's player is not asked for more."""
    return msgspec.structs.replace(title, audio=tuple(each for each in title.audio if each.codecs == AAC.codecs))
