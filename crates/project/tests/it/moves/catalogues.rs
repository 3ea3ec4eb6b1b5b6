//! The design queue's two databases, as a driver would tell of them.

use dunlin_model::moves::{
    Catalogue, Field, ForeignKey, Numbering, Relation, TableName, ValueType,
};

/// A table of lines such as `user_id uuid null -> users`. Columns marked `key` are its key.
pub(super) fn table(name: &str, columns: &str) -> Relation {
    let mut relation = Relation {
        name: TableName::parse(name),
        query: None,
        fields: Vec::new(),
        key: Vec::new(),
        unique: Vec::new(),
        unique_in_part: Vec::new(),
        foreign_keys: Vec::new(),
        row_count_estimate: None,
        is_table: true,
    };
    for line in columns.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, type_name) = (words[0], words[1].replace('_', " "));
        let has = |word: &str| words.contains(&word);
        if has("key") {
            relation.key.push(name.to_owned());
        }
        if has("unique") {
            relation.unique.push(vec![name.to_owned()]);
        }
        if let Some(arrow) = words.iter().position(|word| *word == "->") {
            relation.foreign_keys.push(ForeignKey {
                name: None,
                columns: vec![name.to_owned()],
                to: TableName::parse(words[arrow + 1]),
                to_columns: vec!["id".to_owned()],
                on_delete: "NO ACTION".to_owned(),
            });
        }
        let (value_type, max_chars) = value_type(&type_name);
        relation.fields.push(Field {
            name: name.to_owned(),
            type_name,
            value_type,
            nullable: has("null"),
            has_default: has("default") || has("numbered"),
            numbering: if has("numbered") { Numbering::Counter } else { Numbering::None },
            generated: has("generated"),
            max_chars,
            limit: None,
        });
    }
    if !relation.key.is_empty() {
        relation.unique.push(relation.key.clone());
    }
    relation
}

fn value_type(name: &str) -> (ValueType, Option<u32>) {
    let labels = |labels: &[&str]| ValueType::Enum(labels.iter().map(|&l| l.to_owned()).collect());
    let (base, length) = match name.split_once('(') {
        Some((base, rest)) => (base, rest.trim_end_matches(')').parse().ok()),
        None => (name, None),
    };
    let of = match base {
        "smallint" => ValueType::Int16,
        "integer" => ValueType::Int32,
        "bigint" => ValueType::Int64,
        "boolean" => ValueType::Boolean,
        "text" | "varchar" => ValueType::Text { padded: false },
        "char" => ValueType::Text { padded: true },
        "binary" | "bytea" => ValueType::Bytes,
        "date" => ValueType::Date,
        "timestamp" => ValueType::Timestamp,
        "timestamptz" => ValueType::TimestampTz,
        "uuid" => ValueType::Uuid,
        "jsonb" => ValueType::Json { binary: true },
        "hstore" => ValueType::Map,
        "integer[]" => ValueType::List(Box::new(ValueType::Int32)),
        "request kind" => labels(&["graphic", "web", "video"]),
        "request state" => labels(&["draft", "open", "claimed", "complete", "cancelled"]),
        "approval stage" => labels(&["student", "advisor", "final_one", "final_two"]),
        _ => ValueType::Other,
    };
    let is_text = matches!(of, ValueType::Text { .. });
    (of, length.filter(|_| is_text))
}

pub(super) fn catalogue(mut relations: Vec<Relation>) -> Catalogue {
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Catalogue { relations, files: None, scales_hold: true }
}

/// The old application's.
pub(super) fn old() -> Catalogue {
    let times = "created_at timestamp null\nupdated_at timestamp null";
    let with_times = |name, columns: &str| table(name, &format!("{columns}\n{times}"));
    catalogue(vec![
        with_times("organizations", "id integer key numbered\nname varchar null default"),
        with_times(
            "users",
            "id integer key numbered
             first_name varchar null default
             last_name varchar null default
             role varchar null default
             phone varchar null default
             flavor varchar null default
             email varchar default
             encrypted_password varchar default
             send_emails boolean default
             description text null
             current_sign_in_ip varchar null",
        ),
        with_times(
            "assignments",
            "id integer key numbered
             user_id integer null
             organization_id integer null
             role varchar null default",
        ),
        with_times(
            "orders",
            "id integer key numbered
             name varchar null default
             due date null
             description text null default
             event hstore default
             needs hstore default
             status varchar null default
             owner_id integer null
             organization_id integer null
             creative_id integer null
             type varchar null
             subscriptions integer[] default
             progress varchar default
             student_approval_id integer null
             advisor_approval_id integer null
             final_one_id integer null
             final_two_id integer null
             duplicate_of_id integer null
             completed_at timestamp null",
        ),
        with_times(
            "comments",
            "id integer key numbered
             user_id integer null
             order_id integer null
             message text null default
             attachment_file_name varchar null
             attachment_content_type varchar null
             attachment_file_size integer null
             attachment_updated_at timestamp null",
        ),
        with_times(
            "notifications",
            "id integer key numbered
             title varchar default
             message text default
             read boolean default
             user_id integer null
             notable_type varchar default
             notable_id integer null",
        ),
    ])
}

/// The new application's.
pub(super) fn new() -> Catalogue {
    catalogue(vec![
        table(
            "groups",
            "id integer key numbered
             name text
             inserted_at timestamptz
             updated_at timestamptz",
        ),
        table(
            "users",
            "id uuid key
             email text
             full_name text
             role text
             phone text null
             bio text null
             emails_enabled boolean
             last_sign_in_ip inet null
             inserted_at timestamptz
             updated_at timestamptz",
        ),
        table(
            "memberships",
            "user_id uuid key -> users
             group_id integer key -> groups
             role text
             inserted_at timestamptz
             updated_at timestamptz",
        ),
        table(
            "requests",
            "id uuid key
             kind request_kind
             state request_state
             title text
             description text
             due date null
             progress text null
             group_id integer null -> groups
             owner_id uuid null -> users
             creative_id uuid null -> users
             duplicate_of_id uuid null -> requests
             event_name text null
             event_location text null
             event_starts_at timestamptz null
             needs jsonb
             completed_at timestamptz null
             inserted_at timestamptz
             updated_at timestamptz",
        ),
        table(
            "approvals",
            "request_id uuid key -> requests
             stage approval_stage key
             user_id uuid -> users",
        ),
        table(
            "subscriptions",
            "request_id uuid key -> requests
             user_id uuid key -> users",
        ),
        table(
            "comments",
            "id uuid key
             request_id uuid -> requests
             author_id uuid null -> users
             body text
             inserted_at timestamptz
             updated_at timestamptz",
        ),
        table(
            "audit_events",
            "id uuid key
             request_id uuid -> requests
             actor_id uuid null -> users
             action text
             from_value text null
             to_value text null
             inserted_at timestamptz",
        ),
        table(
            "attachments",
            "id bigint key numbered
             request_id uuid -> requests
             comment_id uuid null -> comments
             file_name text
             content_type text
             byte_size bigint
             storage_key text unique
             inserted_at timestamptz",
        ),
        table(
            "notifications",
            "id uuid key
             user_id uuid -> users
             title text
             message text
             is_read boolean
             request_id uuid null -> requests
             comment_id uuid null -> comments
             inserted_at timestamptz",
        ),
    ])
}
