"""The marked blocks of a guide, as steps in their order. `scripts/check-guides` says how blocks are marked."""
import re
from dataclasses import dataclass, field

from transcript import Transcript

MARK = re.compile(r"<!-- (checked|printed|transcript|exits with (\d+)) -->")


@dataclass
class Step:
    """Commands that are run together, and what must come of them."""
    line: int
    code: str
    exit: int = 0
    is_visible: bool = True
    # Lines that must be printed; or, for a call of a transcript, the answer.
    printed: list = field(default_factory=list)
    answer: object = None


class Unreadable(Exception):
    """A mark without its block, or a block that says nothing."""


def block(lines, at):
    """Language, lines and end of the fenced block that begins at a line."""
    if at >= len(lines) or not lines[at].startswith("```"):
        raise Unreadable(f"line {at}: no block follows this mark")
    end = at + 1
    while lines[end] != "```":
        end += 1
    return lines[at][3:], lines[at + 1:end], end


def console(lines, first, status):
    """Steps of a block of `$ command` lines, each followed by what it prints. The last one has the exit code."""
    found = []
    for number, line in enumerate(lines, first):
        if line.startswith("$ "):
            found.append(Step(number, line[2:]))
        elif not found:
            raise Unreadable(f"line {number}: a console block begins with a command")
        elif found[-1].code.endswith("\\") and not found[-1].printed:
            found[-1].code += "\n" + line
        else:
            found[-1].printed.append(line)
    found[-1].exit = status
    return found


def hidden(lines, at):
    """The step of a `run` comment, and where it ends."""
    end = lines.index("-->", at)
    return Step(at + 2, "\n".join(lines[at + 1:end]), is_visible=False), end


def steps(text):
    """Steps of a guide."""
    lines, found, at, transcript = text.splitlines(), [], 0, Transcript()
    while at < len(lines):
        mark = MARK.fullmatch(lines[at])
        status = int(mark[2] or 0) if mark else 0
        if lines[at] == "<!-- run":
            step, at = hidden(lines, at)
            found.append(step)
        elif mark or lines[at].startswith("```"):
            at += bool(mark)
            language, inside, end = block(lines, at)
            if language == "console":
                found += console(inside, at + 2, status)
            elif mark and mark[1] == "printed":
                found[-1].printed = inside
            elif mark and mark[1] == "transcript":
                calls = transcript.calls("\n".join(inside))
                found += [Step(at + 2, code, answer=answer) for code, answer in calls]
            elif mark:
                found.append(Step(at + 2, "\n".join(inside), exit=status))
            at = end
        at += 1
    return found
