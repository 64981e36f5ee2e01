"""How the time to export a diagram grows with the lifecycle: `python -m benchmarks.diagrams`.

A lifecycle of N states has 3 N transitions: most lead a few states on, some a few back, each with a guard and a use case. For
each format the best of several runs is shown, the exponent by which it grew from 50 to 200 states, 1 for as fast as the graph, and
whether that holds; it exits with 1 where it doesn't. The layout of SVG, PNG and PDF is Graphviz's own time.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import time

from usecasecore.diagrams import Binding, Detail, Diagram, DiagramFormat, Edge, EdgeKind, Guard, Node, render
from usecasecore.diagrams.building import node_id, numbered
from usecasecore.errors import GraphvizMissing

SIZES = (50, 100, 200)
AS_THE_GRAPH = 1.1
"""The exponent up to which a time counts as growing no faster than the graph: it is measured on a machine that does other things."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.diagrams", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of which the best counts (default: 5)")
    parser.add_argument("--formats", help="separated by commas (default: all)")
    arguments = parser.parse_args()
    formats = [DiagramFormat(name) for name in arguments.formats.split(",")] if arguments.formats else list(DiagramFormat)
    diagrams = [diagram(size) for size in SIZES]
    faster = []
    print("format    " + "".join(f"{size:>5} states" for size in SIZES) + "   exponent   grows")
    for each in formats:
        try:
            taken = [best(one, each, arguments.runs) for one in diagrams]
        except GraphvizMissing as error:
            print(f"{each:<10}not measured: {error}")
            continue
        exponent = math.log(taken[-1] / taken[0]) / math.log(SIZES[-1] / SIZES[0])
        verdict = "no faster than the graph" if exponent <= AS_THE_GRAPH else "FASTER THAN THE GRAPH"
        times = "".join(f"{seconds * 1000:>9.1f} ms" for seconds in taken)
        print(f"{each:<10}{times}   {exponent:<8.2f}   {verdict}", flush=True)
        faster += [each] if exponent > AS_THE_GRAPH else []
    if faster:
        raise SystemExit(1)


def best(one: Diagram, target: DiagramFormat, runs: int) -> float:
    """Return the seconds of the fastest run."""
    taken = []
    render(one, target)  # what is loaded for the first one is no part of it
    gc.collect()
    gc.freeze()  # nor is it to be searched for garbage again and again
    for _ in range(runs):
        started = time.perf_counter()
        render(one, target)
        taken.append(time.perf_counter() - started)
    gc.unfreeze()
    return min(taken)


def diagram(size: int) -> Diagram:
    """Return the diagram of a lifecycle of so many states, the same one each time."""
    dice = random.Random(size)
    names = [f"state_{number}" for number in range(size)]
    nodes = tuple(
        Node(node_id(name), name, name, name, initial=number == 0, final=number == size - 1) for number, name in enumerate(names)
    )
    edges = [Edge("creation", EdgeKind.CREATION, None, names[0])]
    for number in range(size):
        for way in range(3):
            reached = number + (dice.randint(1, 4) if way < 2 else dice.randint(-4, -1))
            dest = names[min(max(reached, 0), size - 1)]
            edges.append(
                Edge(
                    "",
                    EdgeKind.TRANSITION,
                    names[number],
                    dest,
                    trigger=f"trigger_{number}_{way}",
                    guards=(Guard(f"guard_{way}", way != 1, "it must be so"),),
                    bindings=(Binding(f"UseCase{number}", (f"event.{number}",)),),
                )
            )
    return Diagram("large", "Large", Detail.FULL, nodes, tuple(numbered(edges)), application="benchmark")


if __name__ == "__main__":
    main()
