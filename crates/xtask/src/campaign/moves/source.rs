//! The old application: how its database is filled, and what a day does to it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dunlin_testkit::servers::Product;

/// So many words labels have.
pub(super) const WORDS: u8 = 40;

/// The old application's writes. Its numbers grow and never come back.
pub(super) struct Old {
    product: Product,
    /// Some jobs have labels.
    has_labels: bool,
    random: fastrand::Rng,
    clubs: u32,
    labels: u32,
    people: u32,
    seats: u32,
    jobs: u32,
    entries: u32,
    alerts: u32,
    mails: u32,
}

impl Old {
    pub(super) fn new(product: Product, has_labels: bool, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self {
            product,
            has_labels,
            random,
            clubs: 0,
            labels: 0,
            people: 0,
            seats: 0,
            jobs: 0,
            entries: 0,
            alerts: 0,
            mails: 0,
        }
    }

    /// Years of use: `scale` times some hundred rows.
    pub(super) fn years(&mut self, scale: u32) -> String {
        let mut sql = "BEGIN;\n".to_owned();
        let add = |sql: &mut String, count: u32, mut one: Box<dyn FnMut() -> String + '_>| {
            (0..count * scale).for_each(|_| sql.push_str(&one()));
        };
        // What refers to rows that come later needs their number.
        add(&mut sql, 6, Box::new(|| self.club()));
        add(&mut sql, 30, Box::new(|| self.person(&BTreeSet::new())));
        add(&mut sql, 40, Box::new(|| self.seat()));
        add(&mut sql, 8, Box::new(|| self.label()));
        add(&mut sql, 60, Box::new(|| self.job()));
        add(&mut sql, 150, Box::new(|| self.entry()));
        add(&mut sql, 90, Box::new(|| self.alert()));
        sql.push_str("COMMIT;\n");
        sql
    }

    /// A day's changes. Addresses that are `pinned` are neither left nor joined: an application's
    /// row stands on them, and what to do then is a person's decision.
    pub(super) fn day(&mut self, pinned: &BTreeSet<String>) -> String {
        let mut sql = "BEGIN;\n".to_owned();
        for _ in 0..self.random.u32(0..60) {
            let change = match self.random.u8(0..28) {
                0 => self.club(),
                1 | 2 => self.person(pinned),
                3 => self.seat(),
                4 | 5 => self.job(),
                6..=8 => self.entry(),
                9 | 10 => self.alert(),
                11 => self.merged(pinned),
                12 => self.leaves(pinned),
                13 => self.person_gone(),
                14 => self.row_gone(),
                15..=17 => self.job_edited(),
                18 | 19 => self.entry_edited(),
                20 => self.person_edited(),
                21 => self.circle(),
                24 => self.label(),
                25 => {
                    format!("DELETE FROM labels WHERE id = {};\n", self.random.u32(0..=self.labels))
                }
                26 | 27 => self.job_labelled(),
                22 => {
                    let id = self.random.u32(1..=self.clubs);
                    format!(
                        "UPDATE clubs SET title = 'Club of {}' WHERE id = {id};\n",
                        self.number()
                    )
                }
                _ => {
                    let id = self.random.u32(1..=self.alerts);
                    format!("UPDATE alerts SET seen = NOT seen WHERE id = {id};\n")
                }
            };
            sql.push_str(&change);
        }
        sql.push_str("COMMIT;\n");
        sql
    }

    fn number(&mut self) -> u32 {
        self.random.u32(0..100_000)
    }

    fn one_of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.random.usize(0..all.len())]
    }

    fn quoted_or_null(&mut self, all: &[&str]) -> String {
        let text = self.one_of(all);
        if text == "NULL" { text.to_owned() } else { format!("'{text}'") }
    }

    /// A number of a row that may be there, may not, and may be NULL.
    fn refer(&mut self, last: u32, beyond: u32) -> String {
        match self.random.u8(0..12) {
            0 => "NULL".to_owned(),
            _ => self.random.u32(1..=last + beyond).to_string(),
        }
    }

    fn moment(&mut self) -> String {
        format!(
            "'20{:02}-{:02}-{:02} {:02}:{:02}:{:02}'",
            self.random.u8(0..30),
            self.random.u8(1..=12),
            self.random.u8(1..=28),
            self.random.u8(0..24),
            self.random.u8(0..60),
            self.random.u8(0..60)
        )
    }

    fn club(&mut self) -> String {
        self.clubs += 1;
        let title = self.quoted_or_null(&["Rowing", "Käse & ''Brot''", "NULL", "Chess"]);
        let made = self.moment();
        format!("INSERT INTO clubs VALUES ({}, {title}, {made});\n", self.clubs)
    }

    fn person(&mut self, pinned: &BTreeSet<String>) -> String {
        self.people += 1;
        let id = self.people;
        let mail = self.fresh_mail();
        let first = self.one_of(&["Ada", "", "Grace", "Zoë", "Jan Willem"]);
        let last = self.one_of(&["Lovelace", "", "O''Neil", "de Vries"]);
        let standing = self.one_of(&["New", "Member", "Chief"]);
        let phone = self.one_of(&["", "+49 30 1", "112"]);
        let address = self.quoted_or_null(&["", "NULL", "10.1.2.3", "fe80::1", "192.168.0.0/24"]);
        let mut sql = format!(
            "INSERT INTO people VALUES ({id}, 'p{id}', '{mail}', '{first}', '{last}', \
             '{standing}', '{phone}', {address}, {});\n",
            self.moment()
        );
        if id > 1 && self.random.u8(0..4) == 0 {
            let other = self.random.u32(1..id);
            sql.push_str(&joins(id, other, pinned));
        }
        sql
    }

    fn fresh_mail(&mut self) -> String {
        self.mails += 1;
        format!("Mail{}@Example.org", self.mails)
    }

    /// Somebody takes another's address, in other letters.
    fn merged(&mut self, pinned: &BTreeSet<String>) -> String {
        let (one, other) = (self.random.u32(1..=self.people), self.random.u32(1..=self.people));
        joins(one, other, pinned)
    }

    /// Somebody takes an address of their own.
    fn leaves(&mut self, pinned: &BTreeSet<String>) -> String {
        let id = self.random.u32(1..=self.people);
        let mail = self.fresh_mail();
        format!(
            "UPDATE people SET mail = '{mail}' WHERE id = {id}{};\n",
            apart_from("mail", pinned)
        )
    }

    /// Half of the time somebody who leads a merge.
    fn person_gone(&mut self) -> String {
        if self.random.bool() {
            return format!(
                "DELETE FROM people WHERE id = {};\n",
                self.random.u32(1..=self.people)
            );
        }
        "DELETE FROM people WHERE id = (SELECT min(p.id) FROM people p JOIN people o \
         ON lower(o.mail) = lower(p.mail) AND o.id > p.id);\n"
            .to_owned()
    }

    fn row_gone(&mut self) -> String {
        let (table, last) = match self.random.u8(0..6) {
            0 => ("clubs", self.clubs),
            1 | 2 => ("jobs", self.jobs),
            3 => ("entries", self.entries),
            4 => ("seats", self.seats),
            _ => ("alerts", self.alerts),
        };
        format!("DELETE FROM {table} WHERE id = {};\n", self.random.u32(1..=last))
    }

    fn person_edited(&mut self) -> String {
        let id = self.random.u32(1..=self.people);
        let number = self.number();
        match self.random.bool() {
            true => format!("UPDATE people SET phone = '{number}' WHERE id = {id};\n"),
            false => format!("UPDATE people SET last = 'Name{number}' WHERE id = {id};\n"),
        }
    }

    fn seat(&mut self) -> String {
        self.seats += 1;
        let (person, club) = (self.refer(self.people, 4), self.refer(self.clubs, 1));
        let standing = self.one_of(&["Member", "Chief"]);
        format!("INSERT INTO seats VALUES ({}, {person}, {club}, '{standing}');\n", self.seats)
    }

    fn job(&mut self) -> String {
        self.jobs += 1;
        let id = self.jobs;
        let title = self.quoted_or_null(&["Poster", "", "NULL", "A film\nof two lines", "Site"]);
        let kind = self.one_of(&["PrintJob", "FilmJob", "SiteJob"]);
        let stage = self.one_of(&["Open", "Done", "Dropped"]);
        let people: Vec<String> = (0..5).map(|_| self.refer(self.people, 6)).collect();
        let (club, copy_of) = (self.refer(self.clubs, 2), self.refer(id, 30));
        let label = self.refer(self.labels, 2);
        let made = self.moment();
        let done = if self.random.bool() { self.moment() } else { "NULL".to_owned() };
        let mut sql =
            format!("INSERT INTO jobs VALUES ({id}, 'j{id}', {title}, '{kind}', '{stage}', ");
        let day = self.one_of(&["NULL", "'2024-02-29'", "'1999-12-31'"]);
        let lists = self.product == Product::Postgres;
        let due = match self.random.u8(0..6) {
            0 if lists => "'infinity'",
            1 if lists => "'-infinity'",
            _ => day,
        };
        sql.push_str(due);
        if lists {
            let facts = self.facts();
            let wants = self.one_of(&["", "a=>1, b=>NULL", r#""two words"=>"é \"x\"""#]);
            let _ = write!(sql, ", '{facts}', '{wants}'");
        }
        let _ = write!(sql, ", {}, {}, {club}", people[0], people[1]);
        if lists {
            let count = self.random.usize(0..5);
            let all: Vec<String> = (0..count).map(|_| self.refer(self.people, 6)).collect();
            let _ = write!(sql, ", '{{{}}}'", all.join(","));
        }
        let _ = writeln!(
            sql,
            ", {}, {}, {}, {copy_of}, {made}, {done}, {label});",
            people[2], people[3], people[4]
        );
        sql
    }

    /// A label of one of a few words, unless another has it.
    fn label(&mut self) -> String {
        if !self.has_labels {
            return String::new();
        }
        self.labels += 1;
        let (id, word) = (self.labels, self.random.u8(1..=WORDS));
        let from = if self.product == Product::Mysql { " FROM dual" } else { "" };
        format!(
            "INSERT INTO labels SELECT {id}, 'w{word}'{from} \
             WHERE NOT EXISTS (SELECT 1 FROM labels WHERE word = 'w{word}');\n"
        )
    }

    /// A job gets another label, or another stage.
    fn job_labelled(&mut self) -> String {
        let id = self.random.u32(1..=self.jobs);
        if self.random.bool() {
            let label = self.refer(self.labels, 2);
            return format!("UPDATE jobs SET label = {label} WHERE id = {id};\n");
        }
        let stage = self.one_of(&["Open", "Done", "Dropped"]);
        format!("UPDATE jobs SET stage = '{stage}' WHERE id = {id};\n")
    }

    fn facts(&mut self) -> &'static str {
        self.one_of(&[
            "",
            "place=>Hall, starts=>2024-05-06T07:08:09Z",
            "place=>NULL, starts=>2031-01-01T00:00:00+02:00",
            "starts=>soon",
            "starts=>\"after lunch\", place=>\"Room 1\"",
        ])
    }

    /// Another state, or other references: there, missing, later, none.
    fn job_edited(&mut self) -> String {
        let id = self.random.u32(1..=self.jobs);
        let column = self.one_of(&["owner", "taker", "first_ok", "second_ok", "club", "copy_of"]);
        let to = match column {
            "club" => self.refer(self.clubs, 2),
            "copy_of" => self.refer(self.jobs, 30),
            _ => self.refer(self.people, 6),
        };
        match self.random.u8(0..4) {
            0 => format!("UPDATE jobs SET title = 'Title {to}' WHERE id = {id};\n"),
            1 if self.product == Product::Postgres => {
                format!("UPDATE jobs SET watchers = watchers || {to}::integer WHERE id = {id};\n")
            }
            _ => format!("UPDATE jobs SET {column} = {to} WHERE id = {id};\n"),
        }
    }

    /// Two or three jobs that refer to each other.
    fn circle(&mut self) -> String {
        let all: Vec<u32> = (0..3).map(|_| self.random.u32(1..=self.jobs)).collect();
        (0..3)
            .map(|n| {
                format!("UPDATE jobs SET copy_of = {} WHERE id = {};\n", all[(n + 1) % 3], all[n])
            })
            .collect()
    }

    fn words(&mut self) -> String {
        self.quoted_or_null(&[
            "NULL",
            "",
            "Looks good",
            "Zeile 1\nZeile 2",
            "State went from open to done.",
            "State went from done to dropped.",
            "State went from open to done. Really.",
            "State went from open to\ndone.",
            "Taken by Ada.",
            "Taken by Ada Lovelace.",
            "It''s 5 % \\ off",
        ])
    }

    fn entry(&mut self) -> String {
        self.entries += 1;
        let id = self.entries;
        let (person, job) = (self.refer(self.people, 6), self.refer(self.jobs, 3));
        let words = self.words();
        let file = self.quoted_or_null(&["NULL", "NULL", "a.pdf", "über/b c.png"]);
        let size = self.quoted_or_null(&["NULL", "0", "123456"]).replace('\'', "");
        format!(
            "INSERT INTO entries VALUES ({id}, 'e{id}', {person}, {job}, {words}, {file}, {size}, {});\n",
            self.moment()
        )
    }

    /// What a person said becomes what the system said, and back; files come and go.
    fn entry_edited(&mut self) -> String {
        let id = self.random.u32(1..=self.entries);
        let change = match self.random.u8(0..4) {
            0 => format!("file_name = {}", self.quoted_or_null(&["NULL", "c/d.txt", "e.txt"])),
            1 => format!("job = {}", self.refer(self.jobs, 3)),
            _ => format!("words = {}", self.words()),
        };
        format!("UPDATE entries SET {change} WHERE id = {id};\n")
    }

    fn alert(&mut self) -> String {
        self.alerts += 1;
        let id = self.alerts;
        let person = self.refer(self.people, 4);
        let about = self.one_of(&["job", "entry", "entry", "moon"]);
        let of = match about {
            "job" => self.refer(self.jobs, 3),
            _ => self.refer(self.entries, 6),
        };
        let seen = self.random.bool();
        format!(
            "INSERT INTO alerts VALUES ({id}, 'a{id}', {person}, '{about}', {of}, 'News', {seen});\n"
        )
    }
}

fn joins(one: u32, other: u32, pinned: &BTreeSet<String>) -> String {
    format!(
        "UPDATE people SET mail = (SELECT upper(o.mail) FROM people o WHERE o.id = {other}) \
         WHERE id = {one}{} AND EXISTS (SELECT 1 FROM people o WHERE o.id = {other}{});\n",
        apart_from("mail", pinned),
        apart_from("o.mail", pinned)
    )
}

fn apart_from(column: &str, pinned: &BTreeSet<String>) -> String {
    if pinned.is_empty() {
        return String::new();
    }
    let all: Vec<String> = pinned.iter().map(|mail| format!("'{mail}'")).collect();
    format!(" AND lower({column}) NOT IN ({})", all.join(", "))
}
