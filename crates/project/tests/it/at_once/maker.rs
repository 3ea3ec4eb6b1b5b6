//! Statements at random, over the tables of the test.

use std::fmt::Write as _;

/// Numbers that are the same in each run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below another one.
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % most.max(1) as u64).unwrap_or(0)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A source in scope: what it is called, its columns, and whether it is the walked table.
#[derive(Clone)]
struct Seen {
    called: String,
    columns: Vec<String>,
    walked: bool,
}

/// Makes statements.
pub(super) struct Maker {
    dice: Dice,
    names: usize,
    /// The WITHs that can be read.
    with: Vec<(String, Vec<String>)>,
    /// Which of several rows comes first must not matter: both columns of a query are one.
    plain: bool,
}

impl Maker {
    pub(super) fn new(mut dice: Dice) -> Self {
        // The first numbers of near seeds are near each other.
        for _ in 0..4 {
            dice.below(2);
        }
        Self { dice, names: 0, with: Vec::new(), plain: false }
    }

    /// A file's statements: one, or two.
    pub(super) fn file(&mut self) -> String {
        if self.dice.one_in(4) {
            return self.pair();
        }
        let first = self.statement();
        if !self.dice.one_in(8) {
            return first;
        }
        self.with.clear();
        format!("{first};\n{}", self.statement())
    }

    /// Two short statements, each of which may be taken alone.
    fn pair(&mut self) -> String {
        let first = self.short();
        format!("{first};\n{}", self.short())
    }

    /// One of those that people write most.
    fn short(&mut self) -> String {
        let set = self
            .dice
            .pick(&["n = 1", "n = 2", "m = 3", "t = 2", "t = 1", "n = p.id", "n = p.a", "m = p.b"]);
        let tie = self.dice.pick(&[
            "q.t = p.id",
            "q.t = p.id",
            "q.n = p.a",
            "q.m = p.id",
            "q.t = p.o",
            "q.t = p.s",
        ]);
        let more = self.dice.pick(&[
            "",
            "p.a > 2 AND ",
            "p.n = 1 AND ",
            "q.n > 1 AND ",
            "p.b IS NOT NULL AND ",
        ]);
        let own = self.dice.pick(&[
            "a = 1",
            "o = id",
            "b = a",
            "n = n + 1",
            "o = 2, a = 3",
            "s = s + 100",
        ]);
        let value = self.dice.pick(&["a", "n", "b", "id", "s"]);
        let other = self.dice.pick(&["1", "2", "a", "b", "id"]);
        let read = self.dice.pick(&[
            "SELECT count(*) FROM o q WHERE q.t = p.id",
            "SELECT sum(q.n) FROM o q WHERE q.t = p.id",
            "SELECT max(q.m) FROM o q WHERE q.n = p.a",
            "SELECT sum(c) FROM t r WHERE r.b = p.b",
            "SELECT count(r.a) FROM t r WHERE r.o = p.o",
            "SELECT sum(r.n) FROM t r WHERE r.s = p.s",
            "SELECT sum(z.a) FROM (SELECT * FROM t) z WHERE z.b = p.b",
            "SELECT sum(iif(1, n = 1, 0)) FROM t WHERE b = p.b",
            "SELECT count(*) FROM u WHERE u.k = p.a",
            "SELECT u.v FROM u WHERE u.k = p.id",
            "SELECT sum(q.n) FROM o q LEFT JOIN x ON x.k = q.id AND q.t = p.id",
        ]);
        match self.dice.below(12) {
            0 | 1 => format!("UPDATE o AS q SET {set} FROM t p WHERE {tie} AND {more}:chunk(p)"),
            2 => {
                format!("UPDATE o AS q SET n = 5 WHERE q.t IN (SELECT {value} FROM t WHERE :chunk)")
            }
            3 => format!(
                "DELETE FROM o AS q WHERE q.t IN (SELECT {value} FROM t WHERE n > 1 AND :chunk)"
            ),
            4 | 5 => format!("UPDATE t SET {own} WHERE :chunk"),
            6 | 7 => format!("UPDATE t AS p SET o = ({read}) WHERE :chunk(p)"),
            8 => format!("INSERT INTO x (k, v) SELECT {value}, {other} FROM t WHERE :chunk"),
            _ => self.upsert(value, other),
        }
    }

    /// An INSERT into a table with a unique column, that may have rows of it already.
    fn upsert(&mut self, value: &str, other: &str) -> String {
        let table = self.dice.pick(&["u", "g", "g"]);
        // Which of several rows of one key comes first must not matter.
        let distinct = if matches!(other, "1" | "2") { "DISTINCT " } else { "" };
        let more = self.dice.pick(&["", "", "a IS NOT NULL AND ", "n > 1 AND "]);
        let from = format!("FROM t WHERE {more}:chunk");
        let rows = format!("(k, v) SELECT {distinct}{value}, {other} {from}");
        let alone = format!("(k) SELECT DISTINCT {value} {from}");
        let second = self.dice.pick(&["a", "n", "s"]);
        let order = self.dice.pick(&["z.k = p.f AND z.v = p.h", "z.v = p.f AND z.k = p.h"]);
        match self.dice.below(12) {
            0 => format!("INSERT OR IGNORE INTO {table} {rows}"),
            1 => format!("INSERT INTO {table} {alone} ON CONFLICT (k) DO NOTHING"),
            2 => format!("INSERT INTO {table} {alone} ON CONFLICT (k) DO UPDATE SET w = 1"),
            3 => format!("INSERT INTO {table} {rows} ON CONFLICT (k) DO UPDATE SET v = excluded.v"),
            4 => format!("INSERT INTO {table} {rows} ON CONFLICT (k) DO UPDATE SET w = excluded.v"),
            5 => format!(
                "INSERT INTO {table} (k, v) SELECT {value}, count(*) {from} GROUP BY {value} \
                 ON CONFLICT (k) DO UPDATE SET v = coalesce({table}.v, 0) + excluded.v"
            ),
            6 => format!(
                "INSERT INTO t (s, n) SELECT {value}, n {from} \
                 ON CONFLICT (s) DO UPDATE SET n = t.n + excluded.n"
            ),
            9 => format!(
                "INSERT INTO x SELECT DISTINCT p.f, p.h FROM (SELECT {value} AS f, {second} AS h {from}) p \
                 WHERE p.f IS NOT NULL AND p.h IS NOT NULL AND NOT EXISTS (SELECT 1 FROM x z WHERE {order})"
            ),
            10 => format!(
                "INSERT INTO x (k, v) SELECT DISTINCT p.{value}, {other} FROM t p WHERE p.{value} IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM x z WHERE z.k = p.{value}) AND :chunk(p)"
            ),
            11 => format!(
                "INSERT INTO u (k, v) SELECT coalesce({value}, 0) + 1, count(*) FILTER (WHERE n > 1) {from} \
                 GROUP BY coalesce({value}, 0) + 1 ON CONFLICT (k) DO UPDATE SET v = coalesce(u.v, 0) + excluded.v"
            ),
            7 => format!("UPDATE OR REPLACE t SET s = {value} + 1 WHERE {more}:chunk"),
            _ => format!(
                "UPDATE o AS q SET n = coalesce(q.n, 0) + z.v FROM (SELECT k, count(*) AS v FROM \
                 (SELECT DISTINCT {value} AS k, {other} AS j {from}) GROUP BY k) z WHERE z.k = q.t"
            ),
        }
    }

    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}{}", self.names)
    }

    fn column(&mut self, seen: &[Seen]) -> String {
        let Some(one) = seen.get(self.dice.below(seen.len())) else { return "1".into() };
        let column = one.columns[self.dice.below(one.columns.len())].clone();
        format!("{}.{column}", one.called)
    }

    fn place(&mut self, seen: &[Seen]) -> String {
        let walked: Vec<&Seen> = seen.iter().filter(|one| one.walked).collect();
        if walked.is_empty() || self.dice.one_in(12) {
            let Some(one) = seen.get(self.dice.below(seen.len())) else { return ":chunk".into() };
            return format!(":chunk({})", one.called);
        }
        if walked.len() == seen.len() && walked.len() == 1 && self.dice.one_in(2) {
            return ":chunk".into();
        }
        format!(":chunk({})", walked[self.dice.below(walked.len())].called)
    }

    fn value(&mut self, seen: &[Seen], depth: usize) -> String {
        match self.dice.below(if depth > 1 { 5 } else { 8 }) {
            0 => self.dice.below(6).to_string(),
            1..=3 => self.column(seen),
            4 => format!("{} + {}", self.column(seen), self.column(seen)),
            5 => {
                let query = self.scalar(seen, depth + 1);
                format!("({query})")
            }
            6 => format!("coalesce({}, 0)", self.column(seen)),
            _ => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(seen, depth + 2, false),
                self.column(seen),
                self.column(seen)
            ),
        }
    }

    /// A query of one value.
    fn scalar(&mut self, around: &[Seen], depth: usize) -> String {
        let (from, own) = self.from(depth + 1);
        let with_place = self.dice.one_in(4);
        let both: Vec<Seen> = own.iter().chain(around).cloned().collect();
        let condition = self.condition(&both, depth, with_place);
        let call = self.dice.pick(&["max", "min", "sum", "count"]);
        format!("SELECT {call}({}) FROM {from} WHERE {condition}", self.column(&own))
    }

    fn comparison(&mut self, seen: &[Seen]) -> String {
        match self.dice.below(6) {
            0..=2 => {
                let sign = self.dice.pick(&["=", "=", "<", ">", "<>"]);
                format!("{} {sign} {}", self.column(seen), self.column(seen))
            }
            3 => format!("{} IS NOT NULL", self.column(seen)),
            4 => format!("{} BETWEEN 1 AND {}", self.column(seen), self.dice.below(9)),
            _ => format!("{} > {}", self.column(seen), self.dice.below(5)),
        }
    }

    /// A condition, with a place in it or not.
    fn condition(&mut self, seen: &[Seen], depth: usize, with_place: bool) -> String {
        if with_place {
            let place = self.place(seen);
            return match self.dice.below(if depth > 2 { 4 } else { 14 }) {
                0 | 1 => place,
                2 | 3 => format!("{} AND {place}", self.comparison(seen)),
                4 => {
                    format!("({} AND {place}) AND {}", self.comparison(seen), self.comparison(seen))
                }
                5 => {
                    let first = self.condition(seen, depth + 1, true);
                    let second = self.condition(seen, depth + 1, true);
                    format!("({first}) OR ({second})")
                }
                6 => format!("{place} OR {}", self.comparison(seen)),
                7 => format!("NOT ({} AND {place})", self.comparison(seen)),
                8 => format!("{place} IS NOT TRUE"),
                9 => format!("CASE WHEN {place} THEN {} ELSE 0 END", self.comparison(seen)),
                10 => format!("coalesce({place}, 1)"),
                11 => format!("{} IN (0, {place})", self.dice.below(2)),
                12 => {
                    format!("({} OR {}) AND {place}", self.comparison(seen), self.comparison(seen))
                }
                _ => format!("{place} = {}", self.dice.below(2)),
            };
        }
        match self.dice.below(if depth > 1 { 4 } else { 9 }) {
            0..=2 => self.comparison(seen),
            3 => format!("{} AND {}", self.comparison(seen), self.comparison(seen)),
            4 => format!("({} OR {})", self.comparison(seen), self.comparison(seen)),
            5 => format!("NOT ({})", self.condition(seen, depth + 1, false)),
            6 | 7 => {
                let with_place = self.dice.one_in(3);
                let (from, own) = self.from(depth + 1);
                let both: Vec<Seen> = own.iter().chain(seen).cloned().collect();
                let inner = self.condition(&both, depth + 1, with_place);
                let more = self.comparison(&both);
                let not = if self.dice.one_in(4) { "NOT " } else { "" };
                format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {inner} AND {more})")
            }
            _ => {
                let with_place = self.dice.one_in(3);
                let (from, own) = self.from(depth + 1);
                let inner = self.condition(&own, depth + 1, with_place);
                let not = if self.dice.one_in(5) { "NOT " } else { "" };
                let distinct = if self.dice.one_in(4) { "DISTINCT " } else { "" };
                let (left, item) = (self.column(seen), self.column(&own));
                format!("{left} {not}IN (SELECT {distinct}{item} FROM {from} WHERE {inner})")
            }
        }
    }

    fn entry(&mut self, depth: usize) -> (String, Seen) {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self.dice.below(if depth > 1 { 5 } else { 7 }) {
            0..=2 => {
                let called = self.name("p");
                let seen = Seen {
                    called: called.clone(),
                    columns: columns(&["id", "id", "a", "b", "n", "o", "c", "s"]),
                    walked: true,
                };
                (format!("t {called}"), seen)
            }
            3 => {
                let called = self.name("q");
                let seen = Seen {
                    called: called.clone(),
                    columns: columns(&["id", "t", "n", "m"]),
                    walked: false,
                };
                (format!("o {called}"), seen)
            }
            4 if !self.with.is_empty() => {
                let (name, columns) = self.with[self.dice.below(self.with.len())].clone();
                let called = self.name("w");
                (format!("{name} {called}"), Seen { called, columns, walked: false })
            }
            4 => {
                let called = self.name("z");
                let table = self.dice.pick(&["x", "u"]);
                let seen =
                    Seen { called: called.clone(), columns: columns(&["k", "v"]), walked: false };
                (format!("{table} {called}"), seen)
            }
            _ => {
                let called = self.name("s");
                let with_place = self.dice.one_in(2);
                let (query, columns) = self.query(depth + 1, with_place);
                (format!("({query}) {called}"), Seen { called, columns, walked: false })
            }
        }
    }

    fn from(&mut self, depth: usize) -> (String, Vec<Seen>) {
        let (mut text, first) = self.entry(depth);
        let mut seen = vec![first];
        let more = if depth > 1 { self.dice.below(2) } else { self.dice.below(3) };
        for _ in 0..more {
            let (entry, one) = self.entry(depth + 1);
            let how = self.dice.pick(&[
                "JOIN",
                "JOIN",
                "LEFT JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                ",",
            ]);
            let with_place = self.dice.one_in(8);
            let column = one.columns[self.dice.below(one.columns.len())].clone();
            let mut on = format!("{}.{column} = {}", one.called, self.column(&seen));
            seen.push(one);
            if with_place {
                let condition = self.condition(&seen, 2, true);
                let _ = write!(on, " AND {condition}");
            }
            if how == "," {
                let _ = write!(text, ", {entry}");
            } else {
                let _ = write!(text, " {how} {entry} ON {on}");
            }
        }
        (text, seen)
    }

    /// A query of two columns, called `k` and `v`.
    fn query(&mut self, depth: usize, with_place: bool) -> (String, Vec<String>) {
        let plain = std::mem::take(&mut self.plain);
        let (from, seen) = self.from(depth);
        if depth < 2
            && self.dice.one_in(14)
            && with_place
            && let Some(one) = seen.iter().find(|one| one.walked)
        {
            let text = format!("SELECT {}.* FROM {from} WHERE {}", one.called, self.place(&seen));
            return (text, one.columns.clone());
        }
        let condition = self.condition(&seen, depth, with_place);
        let key = self.column(&seen);
        let names = vec!["k".to_owned(), "v".to_owned()];
        let text = match self.dice.below(12) {
            2..=4 | 6.. if plain => {
                let distinct = self.dice.pick(&["", "DISTINCT ", "DISTINCT "]);
                format!("SELECT {distinct}{key} AS k, {key} AS v FROM {from} WHERE {condition}")
            }
            0 | 1 => {
                let call = self.dice.pick(&["count", "sum", "max", "min", "avg"]);
                let value = self.column(&seen);
                let having = if self.dice.one_in(4) { " HAVING count(*) > 1" } else { "" };
                format!(
                    "SELECT {key} AS k, {call}({value}) AS v FROM {from} WHERE {condition} GROUP BY {key}{having}"
                )
            }
            2 => format!(
                "SELECT DISTINCT {key} AS k, {} AS v FROM {from} WHERE {condition}",
                self.column(&seen)
            ),
            3 => {
                let other = self.column(&seen);
                format!(
                    "SELECT {key} AS k, count(*) OVER (PARTITION BY {other}) AS v FROM {from} WHERE {condition}"
                )
            }
            4 => {
                let limit = if self.dice.one_in(2) { " LIMIT 2" } else { "" };
                format!(
                    "SELECT {key} AS k, {key} AS v FROM {from} WHERE {condition} ORDER BY 1, 2{limit}"
                )
            }
            5 => {
                let how = self.dice.pick(&["UNION ALL", "UNION", "EXCEPT", "INTERSECT"]);
                let with_place = self.dice.below(3) > 0;
                let (other, own) = self.from(depth + 1);
                let where_ = self.condition(&own, depth + 1, with_place);
                let one = self.column(&own);
                let two = if plain { one.clone() } else { self.column(&own) };
                format!(
                    "SELECT {key} AS k, {key} AS v FROM {from} WHERE {condition} {how} SELECT {one}, {two} FROM {other} WHERE {where_}"
                )
            }
            _ => {
                let value = self.value(&seen, depth);
                format!("SELECT {key} AS k, {value} AS v FROM {from} WHERE {condition}")
            }
        };
        (text, names)
    }

    fn statement(&mut self) -> String {
        let mut text = String::new();
        if self.dice.one_in(4) {
            let name = self.name("c");
            let with_place = self.dice.below(3) > 0;
            let (query, columns) = self.query(1, with_place);
            let _ = write!(text, "WITH {name} AS ({query}) ");
            self.with.push((name, columns));
        }
        let with_place = !text.contains(":chunk") || self.dice.one_in(3);
        let body = match self.dice.below(11) {
            10 => self.adds(),
            0..=3 => self.update(with_place),
            4 | 5 => self.delete(with_place),
            _ => self.insert(with_place),
        };
        text.push_str(&body);
        text
    }

    /// The table that is changed, with its alias.
    fn target(&mut self) -> (String, Seen, &'static str) {
        loop {
            let (entry, seen) = self.entry(9);
            if entry.starts_with("t ") {
                return (entry.replace("t ", "t AS "), seen, "a");
            }
            if entry.starts_with("o ") {
                return (entry.replace("o ", "o AS "), seen, "n");
            }
        }
    }

    fn update(&mut self, with_place: bool) -> String {
        let (target, seen, column) = self.target();
        let mut scope = vec![seen.clone()];
        let mut from = String::new();
        if self.dice.one_in(2) {
            let (text, own) = self.from(1);
            from = format!(" FROM {text}");
            scope.extend(own);
        }
        let value = match self.dice.below(4) {
            0 => self.dice.below(9).to_string(),
            1 => format!("{}.{column} + {}", seen.called, self.column(&scope)),
            _ => self.value(&scope, 0),
        };
        let tie = if from.is_empty() {
            String::new()
        } else {
            let own = seen.columns[self.dice.below(seen.columns.len())].clone();
            format!("{}.{own} = {} AND ", seen.called, self.column(&scope[1..]))
        };
        let condition = self.condition(&scope, 0, with_place);
        format!("UPDATE {target} SET {column} = {value}{from} WHERE {tie}{condition}")
    }

    /// An UPDATE that adds the parts of sums.
    fn adds(&mut self) -> String {
        let (from, seen) = self.from(1);
        let condition = self.condition(&seen, 3, true);
        let (key, value) = (self.column(&seen), self.column(&seen));
        let call = self.dice.pick(&["count", "count", "sum", "max"]);
        let tie = self.dice.pick(&["id", "id", "t", "m", "n"]);
        let adds = self.dice.pick(&["q.n + s.v", "coalesce(q.n, 0) + s.v", "max(q.n, s.v)"]);
        let more = self.dice.pick(&["", "", " AND q.m > 1", " AND s.v > 1", " AND q.n < 4"]);
        let query = format!(
            "SELECT {key} AS k, {call}({value}) AS v FROM {from} WHERE {condition} GROUP BY {key}"
        );
        format!("UPDATE o AS q SET n = {adds} FROM ({query}) s WHERE s.k = q.{tie}{more}")
    }

    fn delete(&mut self, with_place: bool) -> String {
        let (target, seen, _) = self.target();
        let scope = vec![seen];
        let more = self.condition(&scope, 0, false);
        let condition = self.condition(&scope, 0, with_place);
        format!("DELETE FROM {target} WHERE {condition} AND {more}")
    }

    fn insert(&mut self, with_place: bool) -> String {
        let how = self.dice.below(7);
        self.plain = (3..6).contains(&how);
        let (query, _) = self.query(0, with_place);
        match how {
            0..=2 => format!("INSERT INTO x (k, v) {query}"),
            3 => format!("INSERT OR IGNORE INTO u (k, v) {query}"),
            4 => format!("INSERT OR REPLACE INTO u (k, v) {query}"),
            5 => {
                format!("INSERT INTO u (k, v) {query} ON CONFLICT (k) DO UPDATE SET v = excluded.v")
            }
            _ => {
                let adds = self.dice.pick(&[
                    "u.v + excluded.v",
                    "max(u.v, excluded.v)",
                    "coalesce(u.v, 0) + excluded.v",
                ]);
                format!("INSERT INTO u (k, v) {query} ON CONFLICT (k) DO UPDATE SET v = {adds}")
            }
        }
    }
}
