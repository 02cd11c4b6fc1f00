"""What people said of the clips that `enhancers.bench.pairs` wrote: votes read, joined with the key, and summed up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from abr.core.enhancement import PLAIN
from abr.errors import FormatError
from abr.opinions.rating_key import Against, RatingKey
from abr.quality.preferences import Estimate, Preference, bradley_terry, preferred_share
from abr.quality.weight_fit import LiftVote, fit_weight
from abr.records import Record, load

_COMPARED: tuple[Against, ...] = ("same rung", "next rung", "equal bits")


class Vote(Record, frozen=True):
    """One forced choice between two files. seconds: from the pair's appearance to the choice."""

    better: Annotated[str, Meta(max_length=64)]
    worse: Annotated[str, Meta(max_length=64)]
    seconds: float = 0.0

    @property
    def pair(self) -> frozenset[str]:
        """The two files."""
        return frozenset((self.better, self.worse))


class Ballot(Record, frozen=True):
    """What one person chose, as the page saves it. picture_px: size of the pictures as shown, in real pixels."""

    set: Annotated[str, Meta(max_length=64)]
    rater: Annotated[str, Meta(max_length=64)]
    votes: Annotated[tuple[Vote, ...], Meta(max_length=100_000)]
    picture_px: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """How often lifted pictures of a rung were preferred; over all rungs where `rendition` is empty."""

    rendition: str
    against: Against
    wins: int
    votes: int

    @property
    def share(self) -> Estimate:
        """Of the votes, 0–1."""
        return preferred_share(self.wins, self.votes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingResult:
    """All that the votes tell. scores: by condition, see `abr.quality.preferences.bradley_terry`.

    fidelity_weight: of the two medians of trusted quality, see `abr.quality.weight_fit`; None where votes tell nothing.
    """

    title: str
    raters: int
    preferred: Sequence[Preferred]
    scores: dict[str, Estimate]
    rates_bps: dict[str, float]
    fidelity_weight: Estimate | None = None

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return {
            "title": self.title,
            "raters": self.raters,
            "preferred": [asdict(row) | {"share": row.share._asdict()} for row in self.preferred],
            "scores": {
                name: {"rate_bps": self.rates_bps[name]} | score._asdict() for name, score in self.scores.items()
            },
            "fidelity_weight": self.fidelity_weight._asdict() if self.fidelity_weight else None,
        }

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        lines = [
            f"{self.title}: {self.raters} people, {sum(row.votes for row in self.preferred if row.rendition)} votes"
        ]
        for row in self.preferred:
            share, what = row.share, row.rendition or "all rungs"
            lines.append(
                f"{what:<12} lifted over plain {row.against}: {share.value:4.0%} of {row.votes} votes "
                f"({share.low:.0%} to {share.high:.0%})"
            )
        lines.append(f"{'condition':<28}{'kbit/s':>8}{'score':>8}   95 %")
        for name, score in sorted(self.scores.items(), key=lambda item: self.rates_bps[item[0]]):
            kbps = self.rates_bps[name] / 1000
            lines.append(f"{name:<28}{kbps:8.0f}{score.value:+8.2f}   {score.low:+.2f} to {score.high:+.2f}")
        if self.fidelity_weight:
            weight, low, high = self.fidelity_weight
            lines.append(
                f"Votes are explained best when the fidelity median weighs {weight:.2f} and the detail median "
                f"{1 - weight:.2f} (fidelity, 95 %: {low:.2f} to {high:.2f}; trusted quality takes 0.50)"
            )
        return "\n".join(lines)


def read_ballots(paths: Iterable[Path], key: RatingKey) -> list[Ballot]:
    """Raises FormatError for a file that is no ballot, is of other clips, or votes on a pair that nobody was shown."""
    shown = {each.pair for each in key.comparisons}
    ballots = []
    for path in paths:
        ballot = load(path, Ballot)
        if ballot.set != key.set:
            raise FormatError(f"{path} holds votes on other clips ({ballot.set[:20]!r}; these are {key.set!r}).")
        for vote in ballot.votes:
            if vote.pair not in shown:
                raise FormatError(f"{path} has a vote on {vote.better!r} and {vote.worse!r}, which are no pair.")
        ballots.append(ballot)
    return ballots


def sum_up(key: RatingKey, ballots: Sequence[Ballot]) -> RatingResult:
    """Shares and scores. Of a person who voted twice on a pair, or handed in twice, only the last vote counts."""
    clips = {clip.file: clip for clip in key.clips}
    votes = _last_votes(ballots)
    preferences = [Preference(clips[vote.better].condition, clips[vote.worse].condition) for vote in votes]
    rungs = dict.fromkeys(clip.rendition for clip in key.clips if clip.enhancer != PLAIN)
    counted = [_preferred(key, votes, rung, against) for rung in ("", *rungs) for against in _COMPARED]
    return RatingResult(
        title=key.title,
        raters=len({ballot.rater for ballot in ballots}),
        preferred=[row for row in counted if row.votes],
        scores=bradley_terry(preferences),
        rates_bps={clip.condition: clip.rate_bps for clip in key.clips},
        fidelity_weight=fit_weight(list(_lift_votes(key, votes))),
    )


def _lift_votes(key: RatingKey, votes: Sequence[Vote]) -> Iterator[LiftVote]:
    """Those between a lifted picture and a plain one of the title's own, of which its tables tell the quality."""
    known = {each.pair: each for each in key.comparisons}
    for vote in votes:
        compared = known[vote.pair]
        attested = compared.attested
        if attested is not None:
            yield LiftVote(
                fidelity=attested.fidelity,
                detail=attested.detail,
                step=attested.step,
                lift=attested.lift,
                behind=attested.step if compared.against == "next rung" else 0.0,
                preferred=vote.better == compared.lifted,
            )


def _last_votes(ballots: Sequence[Ballot]) -> list[Vote]:
    last = {(ballot.rater, vote.pair): vote for ballot in ballots for vote in ballot.votes}
    return list(last.values())


def _preferred(key: RatingKey, votes: Sequence[Vote], rung: str, against: Against) -> Preferred:
    """Of one rung; of all where it is empty."""
    rungs = {clip.file: clip.rendition for clip in key.clips}
    wanted = {
        each.pair: each.lifted
        for each in key.comparisons
        if each.against == against and rung in ("", rungs[each.lifted])
    }
    cast = [vote for vote in votes if vote.pair in wanted]
    wins = sum(vote.better == wanted[vote.pair] for vote in cast)
    return Preferred(rendition=rung, against=against, wins=wins, votes=len(cast))
