"""Texts that a pattern may match, made from its parse tree: shared by a test and a bench."""

import random
from typing import Any

from trustplane.guard.text.presidio.prefilter import _hoist


def samples(pattern: str, flags: int, rng: random.Random, count: int = 12) -> list[str]:
    """Texts that a pattern may match, made from its parse tree with look-around left out."""
    import re._constants as c
    import re._parser as parser

    source, letters = _hoist(pattern)
    tree = parser.parse(f"(?{letters}){source}" if letters else source, flags)
    groups: dict[int, str] = {}
    category = {
        c.CATEGORY_DIGIT: "0123456789", c.CATEGORY_WORD: "aB_9", c.CATEGORY_SPACE: " \t",
        c.CATEGORY_NOT_WORD: " -", c.CATEGORY_NOT_SPACE: "xY7", c.CATEGORY_NOT_DIGIT: "x-",
    }  # fmt: skip

    def of(items: Any) -> str:
        return "".join(one(op, argument) for op, argument in items)

    def one(op: Any, argument: Any) -> str:
        if op is c.LITERAL:
            return chr(argument)
        if op is c.ANY:
            return "x"
        if op is c.IN:
            if argument[0][0] is c.NEGATE:
                inside = {x for op, a in argument[1:] for x in ({chr(a)} if op is c.LITERAL else {" ", "'", '"'})}
                return rng.choice([x for x in "xY9/" if x not in inside])
            op, found = rng.choice(argument)
            if op is c.RANGE:
                return chr(rng.randint(*found))
            return chr(found) if op is c.LITERAL else rng.choice(category[found])
        if op is c.BRANCH:
            return of(rng.choice(argument[1]))
        if op is c.SUBPATTERN:
            groups[argument[0]] = of(argument[3])
            return groups[argument[0]]
        if op in (c.MAX_REPEAT, c.MIN_REPEAT):
            least, most, body = argument
            return "".join(of(body) for _ in range(rng.randint(least, min(most, least + 3))))
        if op is c.ASSERT and argument[0] < 0:
            return of(argument[1])
        return groups.get(argument, "") if op is c.GROUPREF else ""

    return [of(tree) for _ in range(count)]
