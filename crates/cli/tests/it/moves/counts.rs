//! The counts of a report, against SQL over the old database.

use serde_json::Value;

use super::design_queue::Queue;

/// Rows of each kind, some of which refer to nothing, are double, or go nowhere.
const MORE: &str = "
INSERT INTO users (id, first_name, last_name, role, email, created_at, updated_at)
  SELECT g, 'F', 'L', 'Basic', CASE WHEN g % 10 = 0 THEN 'U' || (g - 1) ELSE 'u' || g END || '@example.edu',
         now(), now() FROM generate_series(10, 309) g;
INSERT INTO assignments (id, user_id, organization_id, role, created_at, updated_at)
  SELECT g, CASE WHEN g % 20 = 0 THEN 90000 + g ELSE 10 + g % 300 END,
         CASE WHEN g % 33 = 0 THEN NULL ELSE 1 + g % 2 END, 'Member', now(), now()
  FROM generate_series(10, 709) g;
INSERT INTO comments (id, order_id, user_id, message, created_at, updated_at)
  SELECT g, CASE WHEN g % 40 = 0 THEN 900 ELSE 1 + g % 4 END, 10 + g % 400,
         (array['Looks good', '', 'Claimed by Ada.', 'Approved as student.', 'Thanks'])[1 + g % 5],
         now(), now() FROM generate_series(100, 699) g;
INSERT INTO notifications (id, user_id, notable_type, notable_id, title, created_at, updated_at)
  SELECT g, 10 + g % 350, (array['Order', 'Comment', 'User'])[1 + g % 3],
         CASE g % 3 WHEN 0 THEN 1 + g % 5 ELSE 100 + g % 700 END, 'News', now(), now()
  FROM generate_series(100, 899) g;
";

/// Each old row with what it comes to, by the rules as a person reads them.
const VIEWS: &str = r"
CREATE VIEW pg_temp.said AS SELECT c.*,
    message ~ '^(Status changed from \w+ to \w+\.|Claimed by [^\n]+\.|Approved as (student|advisor)\.)$' AS machine,
    coalesce(message, '') <> '' OR attachment_file_name IS NOT NULL AS counts,
    order_id IN (SELECT id FROM orders) AS ordered, user_id IN (SELECT id FROM users) AS known
  FROM comments c;
CREATE VIEW pg_temp.told AS SELECT n.*, user_id IN (SELECT id FROM users) AS known,
    notable_type IN ('Order', 'Comment') AND notable_id IS NOT NULL AS matters,
    CASE notable_type WHEN 'Order' THEN notable_id IN (SELECT id FROM orders)
      ELSE notable_id IN (SELECT id FROM pg_temp.said WHERE counts AND NOT machine AND ordered) END AS there
  FROM notifications n;
CREATE VIEW pg_temp.joined AS SELECT a.*, lower(email) AS person,
    organization_id IS NOT NULL AND u.id IS NOT NULL AS stays
  FROM assignments a LEFT JOIN users u ON u.id = a.user_id;
";

/// A count of the report, and the question to the old database whose answer it is.
const COUNTS: [(&str, &str, &str); 14] = [
    ("users", "rows", "SELECT count(DISTINCT lower(email)) FROM users"),
    ("users", "merged", "SELECT count(*) - count(DISTINCT lower(email)) FROM users"),
    (
        "memberships",
        "rows",
        "SELECT count(DISTINCT (person, organization_id)) FROM pg_temp.joined WHERE stays",
    ),
    ("memberships", "left_out", "SELECT count(*) FROM pg_temp.joined WHERE NOT stays"),
    (
        "memberships",
        "duplicate",
        "SELECT count(*) - count(DISTINCT (person, organization_id)) FROM pg_temp.joined WHERE stays",
    ),
    ("requests", "rows", "SELECT count(*) FROM orders"),
    ("audit_events", "rows", "SELECT count(*) FROM pg_temp.said WHERE machine AND ordered"),
    ("audit_events", "left_out", "SELECT count(*) FROM pg_temp.said WHERE machine AND NOT ordered"),
    (
        "audit_events",
        "nulled",
        "SELECT count(*) FROM pg_temp.said WHERE machine AND ordered AND NOT known",
    ),
    (
        "comments",
        "rows",
        "SELECT count(*) FROM pg_temp.said WHERE counts AND NOT machine AND ordered",
    ),
    (
        "comments",
        "left_out",
        "SELECT count(*) FROM pg_temp.said WHERE counts AND NOT machine AND NOT ordered",
    ),
    (
        "notifications",
        "rows",
        "SELECT count(*) FROM pg_temp.told WHERE matters AND known AND there",
    ),
    (
        "notifications",
        "left_out",
        "SELECT count(*) FROM pg_temp.told WHERE matters AND NOT (known AND there)",
    ),
    ("attachments", "rows", "SELECT count(*) FROM comments WHERE attachment_file_name IS NOT NULL"),
];

fn count(report: &Value, rule: &str, what: &str) -> u64 {
    let rules = report["rules"].as_array().expect("rules");
    let rule = rules.iter().find(|one| one["rule"] == rule).expect("the rule");
    match rule[what].as_u64() {
        Some(count) => count,
        None => {
            let reasons = rule["notes"][what].as_object();
            let reasons = reasons.into_iter().flat_map(|reasons| reasons.values());
            reasons.map(|count| count.as_u64().expect("a count")).sum()
        }
    }
}

#[test]
fn every_count_of_a_report_is_that_of_sql() {
    let queue = Queue::of_the_example("counted");
    queue.old.sql(MORE).expect("more rows");
    let ask = |sql: &str| -> u64 {
        let answer = queue.old.sql(&format!("{VIEWS}{sql}")).expect("an answer");
        answer.split_whitespace().last().expect("a count").parse().expect("a number")
    };
    let report = queue.report("move run design_queue");
    for (rule, what, sql) in COUNTS {
        assert_eq!(count(&report, rule, what), ask(sql), "{rule}: {what}");
    }
    for source in report["sources"].as_array().expect("sources") {
        let name = source["source"].as_str().expect("a name");
        let rows = ask(&format!("SELECT count(*) FROM {name}"));
        assert_eq!(source["rows"].as_u64(), Some(rows), "{name}");
    }
    let left_out = &report["sources"];
    let empty = |source: &Value| source["left_out"]["an empty comment"].as_u64();
    let empty = left_out.as_array().expect("sources").iter().find_map(empty);
    assert_eq!(
        empty,
        Some(ask("SELECT count(*) FROM pg_temp.said WHERE NOT counts AND NOT machine"))
    );
    let again = queue.report("move run design_queue");
    for (first, second) in report["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .zip(again["rules"].as_array().expect("rules"))
    {
        let table = first["table"].as_str().expect("a table");
        let there: u64 =
            queue.new_one(&format!("SELECT count(*) FROM {table}")).parse().expect("a number");
        let [rows, inserted] = ["rows", "inserted"].map(|name| first[name].as_u64());
        assert_eq!((rows, inserted), (Some(there), Some(there)), "{table}");
        let [unchanged, verified] = ["unchanged", "verified"].map(|name| second[name].as_u64());
        assert_eq!((unchanged, verified), (Some(there), Some(there)), "{table}");
    }
    let compared = queue.report("move verify design_queue");
    assert_eq!(compared["equal"], true);
}
