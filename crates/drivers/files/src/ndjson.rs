//! NDJSON as rows: an object on each line.

use std::io::{self, BufRead};

use dunlin_engine::TargetError;

use crate::fault::{reading, unusable};
use crate::filling::Filling;
use crate::folder::{Packing, TableFile};
use crate::json::{self, Members, Seen, Tally};
use crate::record::{RECORD_BYTES_MAX, Why};
use crate::shape::{Column, Origin, Shape, Table};
use crate::stream;
use crate::value::Value;

/// What is looked at to know the columns, in all files of a table together: enough to have seen
/// every usual member, and read in a second.
const LOOK_BYTES: u64 = 16 << 20;

/// What is looked at in each file at least.
const LOOK_BYTES_MIN: u64 = 64 << 10;

/// The lines of a file.
struct Lines {
    input: Box<dyn BufRead + Send>,
    text: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl Lines {
    fn open(table: &Table, file: &TableFile) -> Result<Self, TargetError> {
        let input = stream::text(file, table.options.encoding.as_deref())?;
        Ok(Self { input, text: Vec::new(), number: 0, bytes: 0 })
    }

    /// The next line that isn't blank, with its number; `None`: there is none. The error says why
    /// it is no text.
    fn next(&mut self) -> io::Result<Option<(u64, Result<&str, Why>)>> {
        loop {
            if !self.read()? {
                return Ok(None);
            }
            self.number += 1;
            if self.text.len() > RECORD_BYTES_MAX {
                return Ok(Some((self.number, Err("is longer than 16 MiB"))));
            }
            if !self.text.trim_ascii().is_empty() {
                let text = std::str::from_utf8(&self.text)
                    .map_err(|_| "holds bytes that are no text in the file's encoding");
                return Ok(Some((self.number, text)));
            }
        }
    }

    fn read(&mut self) -> io::Result<bool> {
        self.text.clear();
        let mut is_there = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buffer.is_empty() {
                return Ok(is_there);
            }
            is_there = true;
            let end = memchr::memchr(b'\n', buffer);
            let line = &buffer[..end.unwrap_or(buffer.len())];
            // What is too long anyway isn't kept.
            if self.text.len() <= RECORD_BYTES_MAX {
                self.text.extend_from_slice(line);
            }
            let length = line.len() + usize::from(end.is_some());
            self.bytes += length as u64;
            self.input.consume(length);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

/// A table's columns, by its first records.
pub(crate) fn shape(table: &Table) -> Result<Shape, TargetError> {
    let mut found: Vec<(String, Tally)> = Vec::new();
    let files = &table.files.files;
    let share = (LOOK_BYTES / files.len().max(1) as u64).max(LOOK_BYTES_MIN);
    let (mut records, mut looked, mut whole) = (0_u64, 0_u64, true);
    for file in files {
        let mut lines = Lines::open(table, file)?;
        while lines.bytes < share {
            let next = lines.next().map_err(|error| reading(&file.shown, &error))?;
            let Some((_, line)) = next else { break };
            records += 1;
            // What is no record will be told of when it is read.
            let Ok(Members(members)) = line.and_then(Members::of) else { continue };
            for (name, raw) in members {
                let place = found.iter().position(|(known, _)| *known == name);
                let place = place.unwrap_or_else(|| {
                    found.push((name.into_owned(), Tally::default()));
                    found.len() - 1
                });
                found[place].1.add(Seen::of(raw));
            }
        }
        looked += lines.bytes;
        whole &= lines.bytes < share;
    }
    let mut columns: Vec<Column> = found
        .into_iter()
        .map(|(name, tally)| match table.declared(&name) {
            Some(_) => Column::of(table, &name),
            None => {
                let known = table.remembered(&name);
                let origin = match tally.is_empty() && known.is_none() {
                    true => Origin::Unknown,
                    false => Origin::Guessed,
                };
                let holds = known.unwrap_or_else(|| tally.holds(table.key.contains(&name)));
                Column { name, holds, origin }
            }
        })
        .collect();
    // What no record has tonight is NULL.
    let has_records = !columns.is_empty();
    for (name, _) in table.remembered.iter().filter(|_| has_records) {
        let is_there =
            table.declared(name).is_some() || columns.iter().any(|column| column.name == *name);
        if let Some(holds) = table.remembered(name).filter(|_| !is_there) {
            columns.push(Column { name: name.clone(), holds, origin: Origin::Guessed });
        }
    }
    for declared in &table.types {
        if columns.iter().all(|column| column.name != declared.column) {
            columns.push(Column::of(table, &declared.column));
        }
    }
    if columns.is_empty() {
        return Err(unusable(table.shown(), "has no record, so its columns aren't known").help(
            "if it may be empty, say what it holds: types = { id = \"int64\" } under [from.NAME]",
        ));
    }
    let is_packed = files.iter().any(|file| file.packing != Packing::Plain);
    let all: u64 = files.iter().map(|file| file.stamp.bytes).sum();
    let rows = match (whole, is_packed) {
        (true, _) => Some(records),
        (false, false) => Some(all / (looked / records.max(1)).max(1)),
        (false, true) => None,
    };
    Ok(Shape::of_texts(table, columns, rows))
}

/// Reads a file's records.
pub(crate) fn read(
    table: &Table,
    shape: &Shape,
    file: &TableFile,
    to: &mut Filling<'_>,
) -> Result<(), TargetError> {
    let mut lines = Lines::open(table, file)?;
    let comma = table.options.decimal_comma.unwrap_or(false);
    loop {
        let next = lines.next().map_err(|error| reading(&file.shown, &error))?;
        let Some((number, line)) = next else { return Ok(()) };
        let line = line.map_err(str::to_owned);
        match line.and_then(|line| fill(line, &shape.columns, comma)) {
            Ok(values) => to.row(&values, number, number)?,
            Err(why) => to.reject(number, number, why),
        }
    }
}

fn fill<'l>(line: &'l str, columns: &[Column], comma: bool) -> Result<Vec<Value<'l>>, String> {
    let Members(members) = Members::of(line)?;
    let mut values = vec![Value::Null; columns.len()];
    for (name, raw) in members {
        let Some(place) = columns.iter().position(|column| column.name == name) else {
            return Err("has a name that the first records hadn't: give all that there may be a \
                        type under `types`"
                .to_owned());
        };
        values[place] = json::value(&columns[place], raw, comma).unwrap_or_else(Value::Unreadable);
    }
    Ok(values)
}
