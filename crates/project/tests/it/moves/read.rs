//! Reading: what is right, and every kind of mistake.

use std::path::Path;

use dunlin_model::moves::{
    Changed, Deleted, Duplicates, Each, Gone, IdKind, Mapping, Missing, MoveMode, OnRowError,
    TableName, Value,
};
use dunlin_project::moves::{check_mapping, parse_mapping};

use super::catalogues::{new, old};
use super::{DESIGN_QUEUE, shown};

fn of(text: &str) -> Result<Mapping, Vec<dunlin_model::Diagnostic>> {
    parse_mapping("m", Path::new("moves/m.toml"), text)
}

#[test]
fn the_design_queue_is_read_whole() {
    let mapping = of(DESIGN_QUEUE).unwrap_or_else(|errors| panic!("{}", shown(&errors)));
    assert_eq!((mapping.source.value.as_str(), mapping.source.line), ("queue_2016", 2));
    assert_eq!(mapping.mode, MoveMode::Sync);
    assert_eq!(mapping.id_key.as_deref(), Some("queue"));
    let ids: Vec<(&str, IdKind, Option<u64>)> =
        mapping.ids.iter().map(|spec| (spec.name.as_str(), spec.kind, spec.headroom)).collect();
    assert_eq!(
        ids[..2],
        [("organization", IdKind::Keep, Some(500)), ("person", IdKind::Derived, None)]
    );
    assert_eq!(mapping.conflicts.max_deleted_percent, Some(5));
    let names: Vec<&str> = mapping.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "groups",
            "users",
            "memberships",
            "jobs",
            "approvals",
            "subscriptions",
            "audit_events",
            "comments",
            "attachments",
            "notifications",
        ]
    );

    let people = &mapping.sources[0];
    assert_eq!(people.table, Some(TableName::of("users")));
    assert_eq!(people.key, ["id"]);
    let comments = &mapping.sources[2];
    let lets: Vec<&str> = comments.lets.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(lets, ["changed", "claimed", "approved", "system", "file", "spoken"]);
    let changed = &comments.lets[0].1;
    assert!(changed.text.starts_with("regexp_match(") && changed.text.ends_with(')'));
    let line = |what: &str| DESIGN_QUEUE.lines().position(|line| line.contains(what)).unwrap() + 1;
    assert_eq!(changed.line, line("Status changed"));

    let jobs = &mapping.rules[3];
    assert_eq!((jobs.table.to_string().as_str(), jobs.triggers), ("requests", Some(false)));
    assert_eq!(jobs.line, line("[into.jobs]"));
    assert_eq!(jobs.set.len(), 17);
    assert_eq!(jobs.set[0].column, "kind");
    let Value::Expression { on_error, .. } = &jobs.set[12].value else { panic!("an expression") };
    assert_eq!(*on_error, OnRowError::Null);

    let users = &mapping.rules[1];
    assert_eq!(users.one_per.as_ref().map(|one| one.text.as_str()), Some("lower(email)"));
    assert_eq!(mapping.rules[2].duplicates, Duplicates::KeepTheFirst);
    let Some(Each::Case(cases)) = mapping.rules[4].each.as_ref().map(|each| &each.value) else {
        panic!("cases")
    };
    assert_eq!(cases.len(), 4);
    assert_eq!(cases[0][1].1.text, "student_approval_id");
    // In the order of the first, whatever the order of this one.
    assert_eq!(cases[3][1].1.text, "final_two_id");
    let Some(Each::Element { name, list }) = mapping.rules[5].each.as_ref().map(|e| &e.value)
    else {
        panic!("an element")
    };
    assert_eq!((name.as_str(), list.text.as_str()), ("reader", "subscriptions"));
    let Value::Reference(reference) = &mapping.rules[9].set[1].value else { panic!("an id") };
    assert_eq!(reference.new, "job");
    assert_eq!(reference.when.as_ref().map(|w| w.text.as_str()), Some("notable_type = 'Order'"));
    assert_eq!(reference.missing, Missing::LeaveOut);
    assert_eq!(mapping.leave_out[0].because, "nobody said anything");
    assert_eq!(mapping.leave_out[1].line, line("[[leave_out]]") + 5);
}

#[test]
fn defaults_and_other_words() {
    let least = of("source = \"a\"\ntarget = \"b\"\n[into.t]\nfrom = \"t\"\n").expect("valid");
    assert_eq!(least.mode, MoveMode::Sync);
    assert_eq!(least.time_zone, "UTC");
    assert_eq!(least.id_key, None);
    assert_eq!(least.conflicts.max_deleted_percent, None);
    let rule = &least.rules[0];
    assert_eq!((rule.duplicates, rule.triggers), (Duplicates::Refuse, None));

    let other = of("\u{feff}source = 'a'\r\ntarget = 'b'\r\nmode = 'reload'\r\n\
        [ids]\r\nc = { kind = 'matched', table = 'geo.countries', by = ['code', 'year'] }\r\n\
        [conflicts]\r\nchanged_there = 'stop'\r\ndeleted_there = 'restore'\r\ngone_here = 'keep'\r\n\
        [from.t]\r\nquery = 'SELECT 1 AS a'\r\nkey = 'a, b'\r\n\
        [into.'geo.t']\r\nfrom = 't'\r\neach = \"x in (a)\"\r\nset.'a.b' = { value = '1' }\r\n\
        set.c = { new = 'c', of = 'a' }\r\n")
    .unwrap_or_else(|errors| panic!("{}", shown(&errors)));
    assert_eq!(other.mode, MoveMode::Reload);
    assert_eq!(other.ids[0].table, Some(TableName::parse("geo.countries")));
    assert_eq!(other.ids[0].by, ["code", "year"]);
    assert_eq!(other.conflicts.changed_there, Changed::Stop);
    assert_eq!(other.conflicts.deleted_there, Deleted::Restore);
    assert_eq!(other.conflicts.gone_here, Gone::Keep);
    assert_eq!(other.sources[0].key, ["a", "b"]);
    assert_eq!(other.rules[0].table, TableName::parse("geo.t"));
    assert_eq!(other.rules[0].line, 13);
    let columns: Vec<&str> = other.rules[0].set.iter().map(|set| set.column.as_str()).collect();
    assert_eq!(columns, ["a.b", "c"]);
    let Value::Reference(reference) = &other.rules[0].set[1].value else { panic!("an id") };
    assert_eq!(reference.missing, Missing::Error);
}

/// The reference's own example is one.
#[test]
fn the_reference_is_right() {
    let reference = include_str!("../../../../../docs/reference/moves.md");
    let example = reference.split("```").nth(1).and_then(|block| block.strip_prefix("toml\n"));
    let mapping =
        of(example.expect("an example")).unwrap_or_else(|errors| panic!("{}", shown(&errors)));
    assert_eq!((mapping.ids.len(), mapping.rules.len(), mapping.leave_out.len()), (2, 2, 1));
}

/// Each mistake, after two good lines and in a file of its own.
#[test]
fn each_mistake_says_where_and_what() {
    let mut all = String::new();
    for mistake in MISTAKES {
        let text = format!("source = \"old\"\ntarget = \"app\"\n{mistake}\n");
        let errors = of(&text).expect_err(mistake);
        all.push_str(&format!("{mistake}\n{}\n", shown(&errors)));
    }
    all.push_str(&shown(&of("").expect_err("nothing")));
    insta::assert_snapshot!(all);
}

const MISTAKES: &[&str] = &[
    "mode = \"sink\"",
    "mode = true",
    "mod = \"sync\"",
    "unused = [\"a\"]",
    "time_zone = \"\"",
    "id_key = 7",
    "source = \"twice\"",
    "[ids]\nuser = \"derive\"",
    "[ids]\n\"a b\" = \"derived\"",
    "[ids]\nuser = { headroom = 1 }",
    "[ids]\nuser = { kind = \"keep\", headroom = -1 }",
    "[ids]\nuser = { kind = \"keep\", headrom = 1 }",
    "[ids]\nuser = { kind = \"derived\", headroom = 1 }",
    "[ids]\nuser = { kind = \"keep\", table = \"users\" }",
    "[ids]\nuser = \"matched\"",
    "[ids]\nuser = { kind = \"matched\", table = \"users\" }",
    "[conflicts]\nmax_deleted = 10",
    "[conflicts]\nmax_deleted = \"101%\"",
    "[conflicts]\nmax_deleted = \"+1%\"",
    "[conflicts]\ngone_here = \"remove\"",
    "[conflicts]\ngone_there = \"keep\"",
    "conflicts = \"stop\"",
    "from = \"users\"",
    "[from]\nusers = \"people\"",
    "[from.users]\nunsed = [\"a\"]",
    "[from.users]\nunused = []",
    "[from.users]\nunused = [\"a\", 1]",
    "[from.users]\nset.a = \"b\"",
    "[from.users]\nwhere = \"a\"",
    "[from.users]\ntable = \"a\"\nquery = \"SELECT 1\"",
    "[from.users.let]\n\"a-b\" = \"c\"\nnew = \"d\"\ne = \" \"",
    "[from.sales.orders]\nunused = [\"a\"]",
    "[into.users]\nset.a = \"b\"",
    "[into.users]\nfrom = \"users\"\nset.a = 1\nset.b = true\nset.c = \"\"\nset.d = 2015-01-01",
    "[into.users]\nfrom = \"users\"\nset.a = { value = \"b\", on_eror = \"null\" }",
    "[into.users]\nfrom = \"users\"\nset.a = { value = \"b\", on_error = \"skip\" }",
    "[into.users]\nfrom = \"users\"\nset.a = { new = \"user\", missing = \"nul\" }",
    "[into.users]\nfrom = \"users\"\nset.a = { new = \"user\", of = \"b\", on_error = \"null\" }",
    "[into.users]\nfrom = \"users\"\nset.a = { of = \"b\" }",
    "[into.users]\nfrom = \"users\"\nset.a.b = { c = \"d\" }",
    "[into.users]\nfrom = \"users\"\nset.a = \"b\"\nset.a = \"c\"",
    "[into.users]\nfrom = \"users\"\nset = \"b\"",
    "[into.users]\nfrom = \"users\"\neach = \"who OF list\"",
    "[into.users]\nfrom = \"users\"\neach = \"1x IN list\"",
    "[into.users]\nfrom = \"users\"\neach = []",
    "[into.users]\nfrom = \"users\"\neach = [{ a = \"1\" }, { b = \"2\" }]",
    "[into.users]\nfrom = \"users\"\neach = [{ a = 1 }]",
    "[into.users]\nfrom = \"users\"\nkey = [\"id\"]",
    "[into.users]\nfrom = \"users\"\nduplicates = \"keep first\"",
    "[into.users]\nfrom = \"users\"\ntriggers = \"on\"",
    "[into.sales.orders]\nfrom = \"orders\"",
    "[leave_out]\nfrom = \"users\"",
    "[[leave_out]]\nwhere = \"a\"",
    "[[leave_out]]\nfrom = \"users\"\nbecause = \"b\"\nwhy = \"c\"",
    "mode = \"sink\"\nmod = 1\n[into.users]\nfrm = \"a\"\nset.b = 2",
    "mode = ",
];

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s)(\\[into\\.a\\]\n|\\[from\\.a\\]\n|\\[\\[leave_out\\]\\]\n|\\[ids\\]\n|set\\.a|from|each|let|unused|max_deleted|value|new|kind|keep|headroom|'''|\"|=|\\{|\\}|\\[|\\]|, |%|IN|-|1|\n|é|.){0,60}") {
        let _ = of(&text);
    }

    /// What is cut off or changed anywhere is read or refused.
    #[test]
    fn no_broken_mapping_panics(at in 0..DESIGN_QUEUE.len(), length in 0_usize..40, with in "(?s).{0,3}") {
        let end = (at + length).min(DESIGN_QUEUE.len());
        if let (Some(before), Some(after)) = (DESIGN_QUEUE.get(..at), DESIGN_QUEUE.get(end..))
            && let Ok(mapping) = of(&format!("{before}{with}{after}"))
        {
            let _ = check_mapping(&mapping, &old(), &new());
        }
    }
}
