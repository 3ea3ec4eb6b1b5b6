#!/bin/sh
# {name}
{after}
#
# Runs in the project's root; exit code 0 means done. It has these variables:
#   DUNLIN_DATABASE_URL     the database
#   DUNLIN_ENV              the environment, empty if none was named
#   DUNLIN_VERSION          this migration's version
#   DUNLIN_IDEMPOTENCY_KEY  the same each time that it is tried again
# If the machine dies in the middle, it runs again with the same key: make each step one that may
# be taken twice, or hand the key on to whatever tells the two apart.
set -eu

echo "{name}: nothing to do yet"
