#!/bin/sh
# Splits people.name into first_name and last_name. --unbuffered, or the end of a chunk would wait
# in jq's buffer while Dunlin waits for it.
exec jq --compact-output --unbuffered '
  if .dunlin then empty                  # the header: table, key and columns with their types
  elif .chunk then .                     # all rows of the chunk are answered
  elif .row.name == null then empty      # the row stays as it is
  else
    (.row.name | split(" ")) as $words
    | ($words[1:] | join(" ")) as $last
    | if $last == "" then {key, reject: "the name has no space"}
      else {key, set: {first_name: $words[0], last_name: $last}}
      end
  end
'
