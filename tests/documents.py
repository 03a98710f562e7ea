"""Reads the commands of a Markdown page with the output it promises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,3}(-[0-9a-f]{12})?…?")


@dataclass(frozen=True)
class Command:
    """One line behind ``$`` and the lines that the page shows below it."""

    text: str
    promised: tuple[str, ...]

    def find_broken_promise(self, output: str) -> str | None:
        """Return the first promised line of which no line of the output has all the labels, None where all are kept."""
        lines = output.splitlines()
        for line in self.promised:
            labels = list_labels(line)
            if labels and not any(all(label in found for label in labels) for found in lines):
                return line
        return None


def list_labels(line: str) -> list[str]:
    """Return the words of an output line that stay from run to run: no ids, nothing from the first digit or ellipsis on."""
    pieces = (piece for piece in re.split(r"\s{2,}", line.strip()) if not _ID.fullmatch(piece))
    labels = (re.split(r"[\d…]", piece)[0].strip() for piece in pieces)
    return [label for label in labels if any(letter.isalpha() for letter in label)]


def read_fences(page: Path, language: str) -> list[str]:
    """Return the bodies of the page's code fences in one language."""
    return [match["body"] for match in _FENCE.finditer(page.read_text()) if match["language"] == language]


def read_commands(page: Path) -> list[Command]:
    """Return the commands of the page's ``console`` fences in order. Comments behind two spaces and ``#`` are dropped."""
    commands: list[Command] = []
    for body in read_fences(page, "console"):
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            first, *rest = part.splitlines()
            commands.append(Command(re.split(r"\s{2,}#", first)[0], tuple(line for line in rest if line.strip())))
    return commands
