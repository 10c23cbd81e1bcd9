"""Which layers can be computed one after the other, and which must step together."""

from collections.abc import Iterable, Iterator, Sequence


def runs(names: Sequence[str], arcs: Iterable[tuple[str, str]]) -> Iterator[range]:
    """Cut `names` (in computing order) into consecutive runs, given (source, target) arcs between them.

    A backward arc, whose source stands at or behind its target, ties everything between its ends into
    one run; sources not in `names` (the input) are ignored.
    """
    order = {name: index for index, name in enumerate(names)}
    reach = list(range(len(names)))
    for source, target in arcs:
        if source in order and order[source] >= order[target]:
            reach[order[target]] = max(reach[order[target]], order[source])
    start = end = 0
    for index in range(len(names)):
        end = max(end, reach[index])
        if index == end:
            yield range(start, index + 1)
            start = end = index + 1
