#!/usr/bin/env python3
"""Splits people.name into first_name and last_name."""
import json
import sys


def transform(row):
    """The columns to set; None leaves the row as it is."""
    if row["name"] is None:
        return None
    first, _, last = row["name"].partition(" ")
    if not last:
        raise ValueError("the name has no space")
    return {"first_name": first, "last_name": last}


def answer(message):
    sys.stdout.write(json.dumps(message) + "\n")


def main():
    sys.stdin.buffer.readline()  # the header: table, key and columns with their types
    for line in sys.stdin.buffer:  # bytes: JSON is UTF-8, whatever the locale says
        message = json.loads(line)
        if "chunk" in message:
            answer(message)  # all rows of the chunk are answered
            sys.stdout.flush()
            continue
        try:
            values = transform(message["row"])
        except ValueError as error:
            answer({"key": message["key"], "reject": str(error)})
        else:
            if values is not None:
                answer({"key": message["key"], "set": values})


main()
