"""Comparison of what a guide shows with what was printed or answered, in essence: the words must be the same;
sizes, times, ids and hashes need not."""
import json
import re

# The first that matches decides. A number is 0 or it is not; how long something took says nothing.
VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d[:-]\d\d[:-]\d\d(?:\.\d+)?Z?)?"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "HASH"),
    (re.compile(r"(_(?:seconds|ms)\"?:? )[\d.]+"), r"\1NUMBER"),
    (re.compile(r"\b\d+ bytes"), "NUMBER bytes"),
    (re.compile(r"\b(?!0\b(?!\.))\d+(?:\.\d+)?"), "NUMBER"),
    (re.compile(r"[ \t]+"), " "),
]
ANYTHING = re.compile(r"\.\.\.|…")


def essence(line):
    for pattern, name in VARYING:
        line = pattern.sub(name, line)
    return line.strip()


def is_shown(shown, printed):
    """Whether a line of a guide shows a printed one."""
    parts = [re.escape(essence(part)) for part in ANYTHING.split(shown)]
    return re.fullmatch(r"\s*.*\s*".join(parts), essence(printed), re.S) is not None


def missing(shown, printed):
    """The first line of a guide that was not printed after those before it; None if there is none."""
    rest = iter(printed)
    for line in filter(str.strip, shown):
        if not any(is_shown(line, candidate) for candidate in rest):
            return line
    return None


def difference(shown, answered, at="answer"):
    """Where an answer is not as the transcript shows it; None if it is. It may have more fields."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        for name, value in shown.items():
            if name not in answered:
                return f"{at} has no {name}"
            found = difference(value, answered[name], f"{at}.{name}")
            if found:
                return found
        return None
    if isinstance(shown, list) and isinstance(answered, list) and len(shown) <= len(answered):
        return next(filter(None, map(difference, shown, answered, [f"{at}[]"] * len(shown))), None)
    if isinstance(shown, str) and isinstance(answered, str):
        wanted = r".*".join(re.escape(" ".join(part.split())) for part in shown.split("…"))
        if re.fullmatch(wanted, " ".join(answered.split()), re.S):
            return None
    elif shown == answered:
        return None
    return f"{at} is {json.dumps(answered)}, shown is {json.dumps(shown, ensure_ascii=False)}"
