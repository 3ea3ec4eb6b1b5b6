//! Checking against two databases.

use std::path::Path;

use dunlin_model::moves::{Catalogue, Relation, TableName};
use dunlin_project::moves::{check_mapping, parse_mapping};

use super::catalogues::{catalogue, new, old, table};
use super::{DESIGN_QUEUE, shown};

fn checked(text: &str, source: &Catalogue, target: &Catalogue) -> String {
    let mapping = parse_mapping("m", Path::new("moves/m.toml"), text)
        .unwrap_or_else(|errors| panic!("{}\n{text}", shown(&errors)));
    shown(&check_mapping(&mapping, source, target))
}

#[test]
fn the_design_queue_has_no_findings() {
    assert_eq!(checked(DESIGN_QUEUE, &old(), &new()), "");
}

/// Each change of the design queue's mapping: what is written, and what instead.
#[test]
fn each_mistake_says_where_and_what() {
    let mut all = String::new();
    for (written, instead) in MISTAKES {
        assert!(DESIGN_QUEUE.contains(written), "{written}");
        let text = DESIGN_QUEUE.replacen(written, instead, 1);
        let findings = checked(&text, &old(), &new());
        assert_ne!(findings, "", "{written}");
        all.push_str(&format!("{written}\n=> {instead}\n{findings}\n"));
    }
    insta::assert_snapshot!(all);
}

const MISTAKES: &[(&str, &str)] = &[
    // What is read.
    ("table  = \"users\"", "table  = \"user\""),
    ("from    = \"people\"", "from    = \"peple\""),
    ("from  = \"organizations\"", "from  = \"organisations\""),
    ("key    = [\"id\"]", "key    = [\"idd\"]"),
    ("unused = [\"flavor", "unused = [\"flavour"),
    ("unused = [\"updated_at\"]", "unused = [\"updatedat\"]"),
    ("unused = [\"updated_at\"]", "unused = [\"updated_at\", \"title\"]"),
    ("\"flavor\", \"encrypted_password\"", "\"flavor\""),
    ("spoken   = \"", "message  = \""),
    ("system   = \"changed", "system   = \"spoken AND changed"),
    ("system   = \"changed", "system   = \"system AND changed"),
    ("file     = \"", "more     = \"1\"\nfile     = \""),
    ("[from.notifications]", "[from.orderz]\n\n[from.notifications]"),
    ("from    = \"comments\"\nwhere   = \"NOT (", "from    = \"coments\"\nwhere   = \"NOT ("),
    // Ids.
    ("makes   = \"person\"", "makes   = \"persn\""),
    ("{ new = \"remark\", of = \"id\"", "{ new = \"remrk\", of = \"id\""),
    ("makes = \"bell\"", "makes = \"event\""),
    ("makes = \"organization\"\n", ""),
    ("bell         = \"derived\"", "bell         = \"derived\"\nbells        = \"derived\""),
    ("bell         = \"derived\"", "bell         = \"keep\""),
    ("bell         = \"derived\"", "bell         = \"assigned\""),
    ("organization = { kind = \"keep\", headroom = 500 }", "organization = \"derived\""),
    (
        "person       = \"derived\"",
        "person       = { kind = \"matched\", table = \"user\", by = \"email\" }",
    ),
    (
        "person       = \"derived\"",
        "person       = { kind = \"matched\", table = \"users\", by = [\"mail\"] }",
    ),
    (
        "person       = \"derived\"",
        "person       = { kind = \"matched\", table = \"users\", by = [\"email\"] }",
    ),
    (
        "person       = \"derived\"",
        "person       = { kind = \"matched\", table = \"groups\", by = [\"id\"] }",
    ),
    ("where = \"approver", "makes = \"bell\"\nwhere = \"approver"),
    (
        "[[leave_out]]",
        "[into.teams]\ntable = \"groups\"\nfrom = \"organizations\"\nmakes = \"bells\"\nset = { name = \"name\", inserted_at = \"created_at\", updated_at = \"updated_at\" }\n\n[ids.bells]\nkind = \"keep\"\n\n[[leave_out]]",
    ),
    // What is written.
    ("table    = \"requests\"", "table    = \"request\""),
    ("set.bio ", "set.boi "),
    ("set.email           = \"lower(email)\"\n", ""),
    ("set.bio  ", "set.id = \"id\"\nset.bio  "),
    ("set.stage      = \"step\"\n", ""),
    ("makes = \"remark\"\n", ""),
    ("{ new = \"job\", of = \"id\" }", "{ new = \"job\", of = \"id\", missing = \"null\" }"),
    ("{ new = \"job\", of = \"id\" }", "{ new = \"job\", of = \"id\", when = \"true\" }"),
    ("{ new = \"job\", of = \"id\" }", "{ new = \"organization\", of = \"id\" }"),
    ("{ new = \"job\", of = \"id\" }", "{ new = \"person\", of = \"id\" }"),
    ("{ new = \"person\", of = \"owner_id\", missing = \"null\" }", "\"owner_id\""),
    (
        "set.full_name       = \"trim(first_name || ' ' || last_name)\"",
        "set.full_name       = { value = \"first_name || last_name\", on_error = \"null\" }",
    ),
    // Names in expressions.
    ("[from.notifications]", "[from.orders]\nkey = \"id, name\"\n\n[from.notifications]"),
    ("new.request_id ||", "new.requst_id ||"),
    ("new.request_id ||", "new.storage_key ||"),
    ("set.file_name    = \"attachment_file_name\"", "set.file_name    = \"new.storage_key\""),
    (
        "set.request_id   = { new = \"job\", of = \"order_id\", missing = \"leave out\" }\nset.comment_id",
        "set.comment_id",
    ),
    ("where = \"file\"", "where = \"new.id IS NULL AND file\""),
    ("each       = \"reader IN subscriptions\"", "each       = \"name IN subscriptions\""),
];

const HEAD: &str = "source = \"old\"\ntarget = \"app\"\n";

/// What the design queue doesn't have.
#[test]
fn other_tables_have_other_mistakes() {
    let old = catalogue(vec![
        table("logs", "at timestamp\ntext varchar"),
        table("lines", "order_id integer key\nn integer key\nqty integer"),
        table("people", "id uuid key\nname text"),
    ]);
    let view = Relation { is_table: false, ..table("names", "id integer key\nname text") };
    let new = catalogue(vec![
        table("logs", "at timestamp\ntext varchar"),
        table("lines", "id integer key\nqty integer\ntwice integer generated null"),
        table("people", "id binary(16) key\nname text"),
        table("keys", "id binary(20) key\nname text"),
        table("codes", "id char(36) key\nname text"),
        table("short", "id char(20) key\nname text"),
        view,
    ]);
    let mut all = String::new();
    for text in [
        "",
        "[into.people]\nfrom = \"people\"\nmakes = \"p\"\nset.name = \"name\"\n[ids]\np = \"keep\"",
        "[into.people]\nfrom = \"people\"\nmakes = \"p\"\nset.name = \"name\"\n[ids]\np = \"derived\"",
        "[into.codes]\nfrom = \"people\"\nmakes = \"p\"\nset.name = \"name\"\n[ids]\np = \"derived\"",
        "[into.keys]\nfrom = \"people\"\nmakes = \"p\"\nset.name = \"name\"\n[ids]\np = \"derived\"",
        "[into.short]\nfrom = \"people\"\nmakes = \"p\"\nset.name = \"name\"\n[ids]\np = \"derived\"",
        "[into.names]\nfrom = \"people\"\nset.id = \"1\"\nset.name = \"name\"",
        "[into.logs]\nfrom = \"logs\"\nset.at = \"at\"\nset.text = \"\\\"text\\\"\"",
        "[into.lines]\nfrom = \"lines\"\nmakes = \"l\"\nset.qty = \"qty\"\nset.twice = \"2\"\n[ids]\nl = \"keep\"",
        "[into.lines]\nfrom = \"lines\"\nmakes = \"l\"\nset.qty = \"qty\"\n[ids]\nl = \"assigned\"",
        "[into.short]\nfrom = \"people\"\nset.id = \"id\"\nset.name = \"name\"\n[[leave_out]]\nfrom = \"logs\"\nbecause = \"old\"",
        "[from.q]\nquery = \"SELECT 1 AS id\"\n[into.lines]\nfrom = \"q\"\nset.id = \"id\"\nset.qty = \"1\"",
    ] {
        let findings = checked(&format!("{HEAD}{text}"), &old, &new);
        all.push_str(&format!("{text}\n{findings}\n"));
    }
    insta::assert_snapshot!(all);
}

/// A query's columns are known once the source has described it.
#[test]
fn a_query_is_a_table_like_others() {
    let text = format!(
        "{HEAD}[from.q]\nquery = \"SELECT …\"\nkey = [\"idd\"]\n\
         [into.t]\nfrom = \"q\"\nset.id = \"id\"\nset.a = \"a\""
    );
    let target = catalogue(vec![table("t", "id integer key\na text")]);
    // A table of that name is another thing.
    let same = table("q", "x integer key");
    assert_eq!(checked(&text, &catalogue(vec![same.clone()]), &target), "");
    let described = Relation {
        name: TableName::of("q"),
        query: Some("SELECT …".to_owned()),
        ..table("q", "id integer\na text\nb text")
    };
    assert_eq!(
        checked(&text, &catalogue(vec![same, described]), &target),
        ":3 the key of `q` names `idd`, a column that it doesn't have [unknown-column]\n    \
         did you mean `id`?\n\
         :3 warning: no rule uses `b` of `q` [source-column-unused]\n    \
         use what is wanted, and say what isn't: unused = [\"b\"] under [from.q]\n"
    );
}
