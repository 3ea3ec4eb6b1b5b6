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

## Grammar

```text
directive    = marker blank+ "dunlin:" [ blank+ rest ]
continuation = marker blank+ "dunlin+" [ blank+ rest ]
marker       = "--" | "#" | "//"        only "--" in SQL
rest         = item { blank+ item }     of all lines together: a word, then its values
item         = word | string
string       = '"' … '"'                with \" and \\ inside; it ends on its line
blank        = space | tab
```

- A word is lower case with hyphens.
- A continuation stands on the line right below a directive or another continuation.
- A DURATION is a number with its unit (`500ms`, `2s`, `10min`, `1h 30min`), from `1ms` to `576h`.
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
        let repeats = if word.repeats { ", any number of times" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(
            page,
            "\n### `{}{value}`\n\n{}\n\n- Where: {}{repeats}\n- Without it: {}\n- Example: `dunlin: {}`\n",
            word.name,
            word.meaning,
            subjects.join("; "),
            word.default,
            word.example,
        );
    }
    page
}
