#!/usr/bin/env python3
# {name}
{after}
#
# Runs in the project's root; exit code 0 means done. If the machine dies in the middle, it runs
# again with the same DUNLIN_IDEMPOTENCY_KEY: make each step one that may be taken twice, or hand
# the key on to whatever tells the two apart.
import os

DATABASE_URL = os.environ["DUNLIN_DATABASE_URL"]
ENVIRONMENT = os.environ.get("DUNLIN_ENV", "")
KEY = os.environ["DUNLIN_IDEMPOTENCY_KEY"]


def main():
    print("{name}: nothing to do yet")


if __name__ == "__main__":
    main()
