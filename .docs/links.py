"""`flowzoo.NAME` in prose becomes a link to the reference, wherever there is one."""

import re

from docutils import nodes
from sphinx import addnodes

NAME = re.compile(r"(flowzoo(?:\.\w+)+)(?:\(.*\))?$")


def link_names(app, doctree):
    for literal in list(doctree.findall(nodes.literal)):
        match = NAME.match(literal.astext())
        if match and not isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
            target = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=match[1], refdoc=app.env.docname
            )
            literal.replace_self(target)
            target += literal


def setup(app):
    app.connect("doctree-read", link_names)
    return {"parallel_read_safe": True}
