#!/bin/sh
# A letter to each office: something outside the database, which no transaction takes back.
# dunlin: keep-output
set -eu

sent=post/sent.txt
touch "$sent"
while read -r office; do
    letter="$DUNLIN_IDEMPOTENCY_KEY $office"
    # Tried again after a crash, the key is the same: what was sent stays sent.
    if grep -qxF "$letter" "$sent"; then continue; fi
    if [ ! -e post/stamps ] && [ "$(wc -l < "$sent")" -ge 40 ]; then
        until [ -e post/stamps ]; do
            echo "40 letters are sent; out of stamps, waiting for more"
            sleep 1
        done
        echo "there are stamps"
    fi
    echo "$letter" >> "$sent"
done < post/offices.txt
echo "$(wc -l < "$sent" | tr -d ' ') letters are sent"
