//! `docs/reference/configuration.md` and the JSON schema, from the table of keys.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Scope, Takes, tables};

/// The schema of `dunlin.toml`, for editors.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = table_schema(Scope::Top);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("dunlin.toml"));
        schema.insert(
            "description".to_owned(),
            json!("Databases, environments and defaults of Dunlin"),
        );
    }
    schema
}

fn table_schema(scope: Scope) -> Value {
    let mut properties = Map::new();
    for key in KEYS.iter().filter(|key| key.scopes.contains(&scope)) {
        properties.insert(key.name.to_owned(), key_schema(key));
    }
    for table in tables(scope) {
        let inner = match *table {
            "environments" => Scope::Environment,
            "backfill" => {
                properties.insert((*table).to_owned(), table_schema(Scope::Backfill));
                continue;
            }
            _ => Scope::Database,
        };
        let named = json!({
            "type": "object",
            "description": format!("One table for each name: [{table}.NAME]"),
            "patternProperties": { r"^[\p{L}\p{N}_-]+$": table_schema(inner) },
            "additionalProperties": false,
        });
        properties.insert((*table).to_owned(), named);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn key_schema(key: &Key) -> Value {
    let description = format!("{}\n\nWithout it: {}", key.meaning, key.default);
    match key.takes {
        Takes::Url | Takes::Folder => json!({ "type": "string", "description": description }),
        Takes::Urls => json!({
            "type": "array",
            "items": { "type": "string" },
            "description": description,
        }),
        Takes::Number(least, most) => json!({
            "type": "integer",
            "minimum": least,
            "maximum": most,
            "description": description,
        }),
        Takes::Duration => json!({
            "type": "string",
            "description": description,
            "pattern": "^\\s*[0-9].*[a-z]\\s*$",
            "examples": [key.example.trim_matches('"')],
        }),
        Takes::Flag => json!({ "type": "boolean", "description": description }),
        Takes::OneOf(words) => json!({ "enum": words(), "description": description }),
    }
}

/// What comes before the keys.
const INTRODUCTION: &str = r#"# Configuration

`dunlin.toml` stands at the root of a project. This page is generated from the program's own table
of keys; `dunlin.schema.json` beside it lets editors complete them. An unknown key is an error with
a suggestion. No file is needed for one database: `--database-url` (or `DATABASE_URL`),
`--migrations` and `--data-migrations` do.

```toml
lock_timeout = "5s"                     # for every database and environment

[databases.app]
url = "${DATABASE_URL}"

[databases.audit]
url = "${AUDIT_URL:-sqlite:audit.db}"
migrations = "audit/migrations"

[backfill]
workers = 2                             # for every database and environment

[environments.development]
data = "auto"

[environments.production]
protected = true
backfill.workers = 1
databases.audit.lock_timeout = "1s"     # for one database in one environment
```

Where a key stands in several tables, the nearest wins: `[environments.NAME.databases.NAME]`, then
`[environments.NAME]`, then `[databases.NAME]`, then the top of the file. The environment is chosen
with `--env` or `DUNLIN_ENV`; there is no default one. Without any `[databases.NAME]` there is one
database, `main`, at `DATABASE_URL`. A folder that is named must exist; a default one may be
missing. A DURATION is a number with its unit (`500ms`, `2s`, `10min`, `1h 30min`), from `1ms` to
`576h`.

## Keys
"#;

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for key in KEYS {
        let takes = match key.takes {
            Takes::Url => "a URL".to_owned(),
            Takes::Urls => "a list of URLs".to_owned(),
            Takes::Number(least, most) => format!("a number from {least} to {most}"),
            Takes::Folder => "a folder, relative to the file".to_owned(),
            Takes::Duration => "a DURATION".to_owned(),
            Takes::Flag => "`true` or `false`".to_owned(),
            Takes::OneOf(words) => {
                let words: Vec<String> =
                    words().iter().map(|word| format!("`\"{word}\"`")).collect();
                format!("one of {}", words.join(", "))
            }
        };
        let places: Vec<&str> = key
            .scopes
            .iter()
            .map(|scope| match scope {
                Scope::Top => "top of the file",
                Scope::Database => "`[databases.NAME]`",
                Scope::Environment => "`[environments.NAME]`",
                Scope::Backfill => {
                    "`[backfill]`, `[databases.NAME.backfill]`, `[environments.NAME.backfill]`"
                }
            })
            .collect();
        // Writing to a string does not fail.
        let _ = write!(
            page,
            "\n### `{}`\n\n{}\n\n- Takes: {takes}\n- Where: {}\n- Without it: {}\n- Example: `{} = {}`\n",
            key.name,
            key.meaning,
            places.join(", "),
            key.default,
            key.name,
            key.example,
        );
    }
    page
}
