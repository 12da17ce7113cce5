"""Lines of the table: what was measured against what, and whether it holds.

A line keeps one value a round. For two clients the value is the ratio of their
rates in that round, so that a machine that is slow for a while slows both.
"""

import statistics


class Line:
    """`higher` says which way is better; without a target there is no verdict,
    the line is shown for comparison alone."""

    def __init__(self, row, work, against="", target=None, goal=None,
                 higher=True, unit="", values=(), note=""):
        self.row = row
        self.work = work
        self.against = against
        self.target = target
        self.goal = goal
        self.higher = higher
        self.unit = unit
        self.values = list(values)
        self.note = note

    def median(self):
        return statistics.median(self.values)

    def reaches(self, mark):
        # As printed: a figure must not miss its target by digits nobody sees.
        value = float(short(self.median()))
        return value >= mark if self.higher else value <= mark

    def verdict(self):
        if self.target is None:
            return "goal" if self.goal and self.reaches(self.goal) else "-"
        if not self.reaches(self.target):
            return "MISSED"
        if self.goal is not None and self.reaches(self.goal):
            return "ok, goal"
        return "ok"


def short(value):
    if abs(value) >= 1000:
        return f"{value:.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}"


def mark(line, value):
    if value is None:
        return ""
    sign = ">=" if line.higher else "<="
    return f"{sign} {value:g}"


def cells(line):
    unit = f" {line.unit}" if line.unit else ""
    measured = (f"{short(line.median())}{unit} ({short(min(line.values))}.."
                f"{short(max(line.values))})")
    return [line.row, line.work, line.against, mark(line, line.target),
            mark(line, line.goal), measured, line.verdict()]


HEAD = ["row", "work", "against", "target", "goal",
        "median (min..max)", "verdict"]


def render(lines):
    """Two lines of text each: the figures, then what they are made of."""
    rows = [HEAD] + [cells(line) for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    text = ["  ".join(cell.ljust(width) for cell, width in
                      zip(row, widths)).rstrip() for row in rows]
    notes = ["-" * (sum(widths) + 2 * len(widths) - 2)]
    notes += [" " * (widths[0] + 2) + line.note if line.note else None
              for line in lines]
    return "\n".join(part for pair in zip(text, notes) for part in pair
                     if part is not None)


def as_json(lines):
    return [{**vars(line), "median": line.median(), "verdict": line.verdict()}
            for line in lines]


# ---- Two clients -------------------------------------------------------------

def rate(value):
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def micros(seconds):
    return f"{seconds * 1e6:.3g}"


def middle(samples, what):
    return statistics.median(getattr(sample, what) for sample in samples)


def compare(row, work, against, target, goal, ours, theirs, per_byte=False):
    """A line of the ratio of two lists of samples, round by round."""
    values = [a.rate / b.rate for a, b in zip(ours, theirs)]
    scale, unit = (1 << 30, "s CPU/GB") if per_byte else (1e6, "us CPU/op")
    cpu = " : ".join(f"{middle(s, 'cpu') * scale:.3g}" for s in (ours, theirs))
    rates = " : ".join(rate(middle(s, "rate")) for s in (ours, theirs))
    note = f"{rates} {'B' if per_byte else 'ops'}/s, {cpu} {unit}"
    if ours[0].lost is not None:
        lost = " : ".join(f"{max(middle(s, 'lost'), 0) * 100:.3g}"
                          for s in (ours, theirs))
        note += f", {lost} % lost"
    return Line(row, work, against, target, goal, values=values, note=note)
