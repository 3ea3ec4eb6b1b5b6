//! What `dunlin new move` writes.

use std::path::Path;

use dunlin_model::moves::{Catalogue, IdKind, Mapping, Value};
use dunlin_project::moves::{check_mapping, parse_mapping, scaffold};

use super::catalogues::{catalogue, new, old, table};
use super::shown;

fn parsed(text: &str) -> Mapping {
    parse_mapping("m", Path::new("moves/m.toml"), text)
        .unwrap_or_else(|errors| panic!("{}\n{text}", shown(&errors)))
}

#[test]
fn the_design_queue_is_begun() {
    let text = scaffold("design_queue", "old", "app", &old(), &new());
    insta::assert_snapshot!(text);
    parsed(&text);
}

/// Every line that waits for an answer says so in a comment alone: nothing that is written is wrong.
#[test]
fn what_is_written_is_right() {
    let source = catalogue(vec![
        table("Countries", "code char(2) key\nName text"),
        table(
            "person",
            "id integer key numbered\nlastName text\ncountry_code char(2) null\norder integer null",
        ),
        table("entries", "person_id integer key\nday date key\nhours integer"),
    ]);
    let target = catalogue(vec![
        table("countries", "code char(2) key\nname text"),
        table(
            "people",
            "id uuid key
             last_name text
             country_code char(2) null -> countries
             order integer null
             initials text generated",
        ),
        table("entry", "id bigint key numbered\nperson_id uuid -> people\nday date\nhours bigint"),
    ]);
    let text = scaffold("m", "old", "app", &source, &target);
    let mapping = parsed(&text);
    let kinds: Vec<(&str, IdKind)> =
        mapping.ids.iter().map(|spec| (spec.name.as_str(), spec.kind)).collect();
    assert_eq!(
        kinds,
        [("country", IdKind::Keep), ("person", IdKind::Derived), ("entry", IdKind::Assigned)]
    );
    let rules: Vec<(&str, &str)> =
        mapping.rules.iter().map(|rule| (rule.name.as_str(), rule.from.value.as_str())).collect();
    assert_eq!(rules, [("countries", "Countries"), ("people", "person"), ("entry", "entries")]);
    let order = mapping.rules[1].set.iter().find(|set| set.column == "order").expect("set");
    let Value::Expression { expression, .. } = &order.value else { panic!("an expression") };
    assert_eq!(expression.text, "\"order\"");
    assert_eq!(shown(&check_mapping(&mapping, &source, &target)), "");
}

#[test]
fn no_names_break_it() {
    let odd = ["", " ", "a.b", "a\"b", "a'b", "a\nb", "ü", "]", "s", "#", "\\", "a\u{1}'\"b"];
    let make = |kind: &str| {
        let tables = odd.iter().map(|name| {
            let mut relation = table("t", &format!("id {kind} key\nx text null -> t"));
            relation.name = dunlin_model::moves::TableName::of(*name);
            for other in odd {
                let mut field = relation.fields[1].clone();
                field.name = other.to_owned();
                field.type_name = other.to_owned();
                relation.fields.push(field);
            }
            relation
        });
        catalogue(tables.collect())
    };
    for name in odd {
        let text = scaffold(name, name, name, &make("integer"), &make("uuid"));
        let errors = parse_mapping("m", Path::new("moves/m.toml"), &text).err().unwrap_or_default();
        // A database may well not be called nothing, and neither may a table or a column.
        let wrong: Vec<_> = errors
            .iter()
            .filter(|error| !error.message.ends_with("it is empty"))
            .filter(|error| !error.message.contains("name"))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}\n{text}");
    }
    let nothing = Catalogue::default();
    parsed(&scaffold("m", "old", "app", &nothing, &nothing));
    parsed(&scaffold("m", "old", "app", &old(), &nothing));
    parsed(&scaffold("m", "old", "app", &nothing, &new()));
}
