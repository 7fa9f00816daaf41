#!/usr/bin/env bash
# rich 15.0.0: a program prints its messages through Console(stderr=True) and its results with print(). Someone pipes the
# messages into a reader that ends early, as `head` does. One would think that only the messages are lost. Rich's
# Console.on_broken_pipe exits with code 1 instead, and before that points the descriptor of *stdout* to /dev/null, which
# is not broken: a program that catches the exit to finish its work loses its results without an error.
#
# Seen: exit code asked for by rich: 1; of two results printed before and after, one arrived
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rich==15.0.0
cd "$folder"
cat > program.py <<'PYTHON'
import os
import sys

from rich.console import Console

messages = Console(stderr=True)
print("first result", flush=True)
reader, writer = os.pipe()
os.dup2(writer, 2)
os.close(writer)
os.close(reader)  # whoever read the messages has ended
try:
    messages.print("a message")
except SystemExit as ended:
    with open("code", "w") as file:
        file.write(str(ended.code))
print("second result", flush=True)
PYTHON
"$folder/venv/bin/python" program.py > results
echo "exit code asked for by rich: $(cat code); results that arrived:"
cat results
test "$(cat code)" = 1
test "$(cat results)" = "first result"
