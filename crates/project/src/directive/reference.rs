//! `docs/reference/directives.md`, from the table of words.

use std::fmt::Write as _;

use super::words::WORDS;

/// What comes before the words.
const INTRODUCTION: &str = r##"# Directives

A migration says in its header how it wants to be run. This page is generated from the program's
own table of words, and each word has a conformance test. The grammar is frozen: what is valid
today stays valid and keeps its meaning.

## Where they stand

In SQL, in line comments before the first statement, among other comments and blank lines:

```sql
-- Comments may stand here as well.
-- dunlin: no-transaction
-- dunlin: after 20260110093000
-- dunlin+ 20260111080000
CREATE INDEX CONCURRENTLY posts_author ON posts (author_id);
```

In a program, in comment lines that start with `#`, `//` or `--`, before the first line of code; a
`#!` line and PHP's opening tag may come first:

```ruby
#!/usr/bin/env ruby
# dunlin: after schema 20260110093000
# dunlin: keep-output
```

In a `VERSION_name.toml`, as keys under `[migration]`. A word without a value is `true`; a word
that takes several values is a list; everything else is a string:

```toml
[migration]
after = ["schema 20260110093000", 20260111080000]
environments = ["production", "staging"]
statement-timeout = "10min"
keep-output = true

[program]
command = ["bin/rails", "runner", "Posts::Backfill.run"]
```

`[program] command` is the program and its arguments; it runs in the project's root. A `command`
whose first part has a `/` is looked for from the root, any other in `PATH`.

## Chunks

With `chunk-by` a data migration in SQL runs chunk by chunk. Each of its statements (UPDATE,
DELETE, INSERT, REPLACE, MERGE, SELECT) says where the range of the chunk's keys goes:

```sql
-- dunlin: chunk-by posts
-- dunlin: after 20260110093000
-- dunlin: done-when SELECT NOT EXISTS (SELECT 1 FROM posts WHERE published_at IS NULL)
UPDATE posts SET published_at = inserted_at WHERE published_at IS NULL AND :chunk;
```

- `:chunk` is the range over the table's own column names; `:chunk(p)` qualifies them with the
  alias `p`, as in `UPDATE posts AS p SET … FROM users AS u WHERE u.id = p.user_id AND :chunk(p)`.
- It is found by the server's own rules: not in strings, comments, `::chunk` or `:chunky`.
- All statements of the file run for each chunk, in order, in one transaction.
- A statement must not assign a column of the key, nor one from which the server computes it, and
  must not insert into the table that is walked, unless the database gives the new rows numbers as
  keys that are above all that there are (it is asked before the start): rows that come to lie ahead
  of the walk would be done as well. Neither may it write the table through a view, or through
  another table of its partitions.
- `:chunk` stands as a condition of its own, joined by AND with the others, in the WHERE (or the ON
  of an inner join) of the query that reads the `chunk-by` table, or on both sides of an OR there;
  everywhere else it is refused. All that the statement writes must come of the rows that it bounds,
  each of one chunk: each UPDATE, DELETE and INSERT of a WITH, each query of a UNION, and of an outer
  join the side that is kept.
- The table may also be bound in a sub-query: `IN (SELECT … WHERE :chunk)` and `EXISTS (…)` as
  conditions of an UPDATE or a DELETE, a derived table, a WITH. Not in a value, not under NOT.
- A row of another table that is changed must belong to one row of the `chunk-by` table (it is joined
  with the whole key, both sides with their alias), or get constants alone. Of a MERGE likewise; put
  `:chunk` into its source.
- What is made of several rows must not depend on rows of other chunks: aggregates, GROUP BY,
  DISTINCT and window functions over a query with `:chunk` are refused unless the whole key (or
  another unique key without NULLs) is among their columns, or a count, a sum, a least or greatest
  value is added to what is there (`n = t.n + excluded.n`). LIMIT, OFFSET, TABLESAMPLE and SKIP LOCKED
  are refused.
- What the statements write must not be read of other rows than the chunk's own, since earlier chunks
  have changed it: neither in a sub-query nor in a join, nor in another statement of the file. Tied to
  the chunk's row by its key it may be read.
- Sub-queries without `:chunk` see everything and may otherwise do anything:
  [recipes](../guides/backfill-recipes.md#counts-and-groups).
- Comments that some servers run (`/*! … */`) are refused, and so is a statement that reads a variable
  of MySQL's (`@n`), which would be carried from row to row.
- While a part of the rows is done, the statements of the file must stay as they are. To do the rest
  by other statements: `dunlin accept V --because "…"`; to begin anew with them, over all rows:
  `dunlin data rerun V`.
- By hand, such a file runs over all rows at once with `psql -v chunk=true -f FILE` (psql knows
  nothing of aliases: `:chunk(p)` has to become `:chunk` for that).

Row code is a program that gets rows and gives changed rows. `[rows]` in its `.toml` stands for
`chunk-by` (`table`), `chunk-key` (`key`) and `chunk-where` (`where`); the other words about chunks
stand under `[migration]`:

```toml
[migration]
workers = 2
on-error = "quarantine"

[rows]
table = "people"
key = ["id"]                            # as `chunk-key`; without it: the best that there is
columns = ["id", "full_name"]           # what the program gets; without it: every column
where = "first_name IS NULL"            # which rows it gets; without it: every row
lock = false                            # true: rows are locked while the program has them

[program]
command = ["python3", "split_names.py"]
```

## Grammar

```text
directive    = marker blank+ "dunlin:" [ blank+ rest ]
continuation = marker blank+ "dunlin+" [ blank+ rest ]
marker       = "--" | "#" | "//"        only "--" in SQL
rest         = item { blank+ item }     of all lines together: a word, then its values
             | word blank+ SQL          for `chunk-by`, `chunk-key`, `chunk-where` and `done-when`
item         = word | string
string       = '"' … '"'                with \" and \\ inside; it ends on its line
blank        = space | tab
```

- A word is lower case with hyphens.
- A continuation stands on the line right below a directive or another continuation.
- A DURATION is a number with its unit (`500ms`, `2s`, `10min`, `1h 30min`), from `1ms` to `576h`.
- SQL is taken as it is written, comments and quotes included, with its continuation lines.
- A VERSION is a migration's version, a whole number; leading zeros do not count. For `after` it
  may also be another tool's name for a migration, of letters, digits, `.`, `_` and `-`, or in
  double quotes.
- A word that repeats adds to what was said before; any other word may stand once.
- Directives inside strings and block comments are not read.

What is nearly a directive is refused, with the right form, rather than ignored: `--dunlin: manual`,
`-- Dunlin: manual`, `-- dunlin manual`, `# dunlin: manual` in SQL, `/* dunlin: manual */`, and any
directive below the first statement. So are the marks of other tools' files that hold both
directions (`-- +goose Down`, `-- migrate:down`, and the like).

## Words
"##;

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for word in WORDS {
        let value = if word.value.is_empty() { String::new() } else { format!(" {}", word.value) };
        let subjects: Vec<&str> = word.subjects.iter().map(|subject| subject.title()).collect();
        let needs = match word.name {
            "repeat" => "- Needs: `chunk-by` (or `[rows]`), and `done-when`\n",
            "chunk-key" | "chunk-where" => "- Needs: `chunk-by`\n",
            _ if word.needs_chunks() => "- Needs: `chunk-by` (or `[rows]`)\n",
            _ => "",
        };
        let repeats = if word.repeats { ", any number of times" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(
            page,
            "\n### `{}{value}`\n\n{}\n\n- Where: {}{repeats}\n{needs}- Without it: {}\n- Example: `dunlin: {}`\n",
            word.name,
            word.meaning,
            subjects.join("; "),
            word.default,
            word.example,
        );
    }
    page
}
