"""Docstrings of flowzoo as reStructuredText for Sphinx's autodoc.

They are prose with `code` in single backticks, indented formulas in ASCII, bullets, doctests and sections
such as "Arguments:"; what follows a section's colon on its line belongs to it.
"""

import inspect
import re
import textwrap

from sphinx.util.inspect import stringify_signature

SECTION = re.compile(r"(Arguments|Attributes|Returns|Raises|Warns|Example|References):(?: (.*))?$")
CODE = re.compile(r"``?([^`]+)``?")
ARXIV = re.compile(r"\barXiv:(\d{4}\.\d{4,5})\b")
ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)", re.DOTALL)


def to_rst(lines):
    """The lines of a docstring as lines of reStructuredText.

    Example:
        >>> to_rst(["A density p(x | c), see `log_prob`.", "", "Returns: (batch,)."])
        ['A density p(x \\\\| c), see ``log_prob``.', '', '**Returns** (batch,).', '']
    """
    found = []
    for name, body in _sections(lines):
        found += _section(name, body)
    return found


def _sections(lines):
    """Pairs of a section's name, None for the prose before and after them, and its dedented lines."""
    sections = [(None, [])]
    for line in lines:
        match = SECTION.match(line)
        if match:
            sections.append((match[1], [match[2]] if match[2] else []))
        elif line and not line.startswith(" ") and sections[-1][0]:
            sections.append((None, [line]))
        else:
            sections[-1][1].append(line)
    return [(name, _dedented(body) if name else body) for name, body in sections]


def _dedented(body):
    """A section's lines without their common indent, which text beside the colon does not have."""
    beside = [] if not body or body[0].startswith(" ") else body[:1]
    return beside + textwrap.dedent("\n".join(body[len(beside) :])).split("\n")


def _section(name, body):
    if name in (None, "Example"):
        head = [] if name is None else [".. rubric:: Example", ""]
        return head + _blocks(body)
    if name in ("Arguments", "Attributes") and _entries(body):
        return [f".. rubric:: {name}", "", *_definitions(_entries(body))]
    if name == "References":
        ended = re.sub(r"\)\n(?=\S)", ")\n\n", "\n".join(body).strip())
        papers = [inline(" ".join(paper.split())) for paper in ended.split("\n\n")]
        return [".. rubric:: References", "", *(f"- {paper}" for paper in papers), ""]
    first, *rest = _blocks(body)
    return [f"**{name}** {first}", *rest]


def _entries(body):
    """The arguments of a section, (names, text): what goes on is indented."""
    found = []
    for line in "\n".join(body).strip().split("\n"):
        match = ENTRY.match(line)
        if match:
            found.append([match[1], [match[2]]])
        elif found and (not line or line.startswith(" ")):
            found[-1][1].append(line.strip())
        elif found:  # a sentence that follows the entries
            found[-1][1].append(line)
        else:
            return []
    return found


def _definitions(entries):
    lines = []
    for names, text in entries:
        names = ", ".join(f"``{name}``" for name in names.split(", "))
        lines += [names, *(f"    {line}" for line in _blocks(text)), ""]
    return lines


def _blocks(lines):
    """Paragraphs, bullets, formulas and doctests."""
    found = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = block.split("\n")
        if textwrap.dedent(block).startswith(">>>"):
            found += [
                ".. code-block:: pycon",
                "",
                *(f"    {row}" for row in textwrap.dedent(block).split("\n")),
                "",
            ]
        elif rows[0].startswith("    "):
            found += ["::", "", *(f"    {row}" for row in textwrap.dedent(block).split("\n")), ""]
        elif rows[0].startswith("- "):
            items = re.split(r"\n- ", block[2:])
            found += [*(f"- {inline(' '.join(item.split()))}" for item in items), ""]
        elif any(row.startswith("    ") for row in rows[1:]) or any(row.startswith("- ") for row in rows):
            start = next(i for i, row in enumerate(rows) if row.startswith(("    ", "- ")))
            found += _blocks(rows[:start]) + _blocks(rows[start:])
        else:
            found += [*inline(block).split("\n"), ""]
    return found


def inline(text):
    """Prose with its code, its papers linked, and nothing else that reStructuredText would read.

    Example:
        >>> inline("`a*b` of p(x | y), x_ (arXiv:1605.08803)")
        '``a*b`` of p(x \\\\| y), x\\\\_ (`arXiv:1605.08803 <https://arxiv.org/abs/1605.08803>`__)'
    """
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts += [_escaped(text[end : match.start()]), f"``{' '.join(match[1].split())}``"]
        if re.match(r"\w", text[match.end() :]):
            parts.append("\\ ")
        end = match.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text):
    escaped = re.sub(r"([\\*|_])", r"\\\1", text)
    return ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", escaped)


def process(app, what, name, obj, options, lines):
    lines[:] = to_rst(list(lines))


def signature(app, what, name, obj, options, arguments, returned):
    """The signature of a class's constructor, which Keras's own `__new__` would hide."""
    if what != "class" or not inspect.isfunction(obj.__init__):
        return None
    found = inspect.signature(obj.__init__)
    found = found.replace(parameters=list(found.parameters.values())[1:], return_annotation=found.empty)
    return stringify_signature(found, unqualified_typehints=True), ""


def setup(app):
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
