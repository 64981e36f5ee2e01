"""Whether a transition can be made at all, whatever its guards answer: their names read as propositions.

A guard is taken to answer the same however often it is asked for one trigger. Guards that have no name of their own, such
as lambdas, are taken for different questions each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import product

from usecasecore.lifecycle import Edge

__all__ = ["answers_for", "excluded", "is_possible", "is_possible_after", "questions"]

_MOST = 12
"""Questions in play, above which the table of all answers is not made, and everything is taken for possible."""


def questions(edge: Edge) -> frozenset[tuple[Hashable, bool]]:
    """Return what an edge's guards ask, each with the answer that lets the transition through."""
    asked = [*((name, True) for name in edge.conditions), *((name, False) for name in edge.unless)]
    return frozenset((_question(edge, place, name), wanted) for place, (name, wanted) in enumerate(asked))


def excluded(edge: Edge) -> tuple[str, ...]:
    """Return the guards that would have to say both yes and no."""
    asked = questions(edge)
    return tuple(str(question) for question, wanted in sorted(asked, key=str) if wanted and (question, False) in asked)


def is_possible(edge: Edge) -> bool:
    """Return whether there are answers by which the edge's guards agree."""
    return not excluded(edge)


def is_possible_after(edge: Edge, earlier: Iterable[Edge]) -> bool:
    """Return whether there are answers by which the edge's guards agree, and those of each earlier candidate do not."""
    others = list(earlier)
    questions_in_play = {question for each in (edge, *others) for question, _ in questions(each)}
    if len(questions_in_play) > _MOST:
        return is_possible(edge)
    return answers_for(edge, others) is not None


def answers_for(edge: Edge, earlier: Iterable[Edge] = ()) -> dict[Hashable, bool] | None:
    """Return what the guards must answer for the edge to be taken and not an earlier candidate; None if nothing does it.

    Of several ways it is the first with as few earlier guards as possible turned to yes. A guard is called by its name.
    """
    if not is_possible(edge):
        return None
    wanted = dict(questions(edge))
    others = [dict(questions(each)) for each in earlier if is_possible(each)]
    in_play = sorted({question for other in others for question in other} - set(wanted), key=str)
    for given in product((False, True), repeat=len(in_play)):
        answers = wanted | dict(zip(in_play, given, strict=True))
        if not any(_agrees(other, answers) for other in others):
            return answers
    return None


def _agrees(asked: Mapping[Hashable, bool], answers: Mapping[Hashable, bool]) -> bool:
    return all(answers[question] is wanted for question, wanted in asked.items())


def _question(edge: Edge, place: int, name: str) -> Hashable:
    return name if name.replace(".", "_").isidentifier() else (edge.index, place, name)
