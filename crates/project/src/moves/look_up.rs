//! `look_up.NAME = { in = "customers", of = "customer_id" }` under `[from.NAME]`.

use dunlin_model::moves::LookUp;
use toml::de::DeTable;

use super::document::{Document, Item, Key, Scope};
use super::reader::{expression_name, key_columns};

const EXAMPLE: &str = "look_up.country = { in = \"customers\", of = \"customer_id\" }";

/// All look-ups of a source, in the order of the file.
pub(super) fn read(document: &mut Document<'_>, path: &str, table: &DeTable<'_>) -> Vec<LookUp> {
    table.iter().filter_map(|(key, value)| one(document, path, key, value)).collect()
}

fn one(
    document: &mut Document<'_>,
    path: &str,
    key: &Key<'_>,
    value: Item<'_, '_>,
) -> Option<LookUp> {
    let name = key.get_ref().as_ref();
    let path = format!("{path}.{name}");
    if !expression_name(document, key) {
        return None;
    }
    let Some(table) = value.get_ref().as_table() else {
        let message = "it isn't said where, and by what";
        document.wrong(&path, value, message, &format!("for example: {EXAMPLE}"));
        return None;
    };
    let line = document.line(key.span().start);
    let mut look_up = LookUp {
        name: name.to_owned(),
        within: String::new(),
        of: Vec::new(),
        by: Vec::new(),
        take: None,
        line,
    };
    for (key, value) in table {
        let inner = format!("{path}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "in" => {
                let said = document.text(&inner, value, "\"customers\"");
                look_up.within = said.unwrap_or_default().to_owned();
            }
            "of" => look_up.of = key_columns(document, &inner, value),
            "by" => look_up.by = key_columns(document, &inner, value),
            "take" => {
                look_up.take = document.text(&inner, value, "\"country\"").map(str::to_owned);
            }
            _ => document.unknown(key, &format!("{path}."), Scope::LookUp),
        }
    }
    for key in ["in", "of"] {
        if !table.contains_key(key) {
            let message = format!("`{path}` has no `{key}`");
            document.missing(value.span().start, &message, EXAMPLE);
            return None;
        }
    }
    Some(look_up)
}
