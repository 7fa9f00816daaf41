"""Control characters: names and metadata of slides are text of strangers, and a terminal obeys what it is sent."""

from __future__ import annotations

import re

# C0, DEL and C1; invisible characters and those that turn the direction of writing, which make a name look like another
# one; lines and paragraphs of Unicode; halves of surrogate pairs, which stand for bytes that are not valid text; tags.
# The joiners U+200C and U+200D stay: Persian, Hindi and emoji are written with them.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_LINE_CONTROL = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_SHORT_FORMS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_controls(text: str, *, keep_lines: bool = False) -> str:
    r"""Return the text with each control character in a visible form, as JSON has it: `\u001b`, `\n`.

    Line feeds and tabs stay if `keep_lines`: for text that consists of lines, such as a table or a traceback.
    """
    return (_LINE_CONTROL if keep_lines else _CONTROL).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT_FORMS.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
