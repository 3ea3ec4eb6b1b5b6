//! CSV as rows.

use std::collections::BTreeSet;
use std::io::BufRead;

use dunlin_engine::TargetError;
use dunlin_model::moves::FileType;

use crate::fault::{reading, unusable};
use crate::filling::Filling;
use crate::folder::{Format, Packing, TableFile};
use crate::guess::FirstRows;
use crate::record::{Record, Records};
use crate::shape::{Column, Holds, Shape, Table};
use crate::stream;
use crate::value::{self, Value};

/// Records that are looked at to guess how many there are.
const ESTIMATE_RECORDS: u64 = 1_000;

type Input = Records<Box<dyn BufRead + Send>>;

/// A table's columns, by the headers of all its files.
pub(crate) fn shape(table: &Table) -> Result<Shape, TargetError> {
    let mut first: Option<Vec<String>> = None;
    for file in &table.files.files {
        let (_, names) = begin(table, file)?;
        match &first {
            None => first = Some(names),
            Some(first) => {
                let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
                    (first.iter().collect(), names.iter().collect());
                if let Some(name) = ours.symmetric_difference(&theirs).next() {
                    let what = format!("and {} are not alike: only one has `{name}`", file.shown);
                    return Err(unusable(table.shown(), what)
                        .help("files of one table have the same columns, in any order"));
                }
            }
        }
    }
    let names = first.unwrap_or_default();
    let columns = names.iter().map(|name| Column::of(table, name)).collect();
    Ok(Shape::of_texts(table, columns, estimate(table)?))
}

/// Opens a file and reads its header, if it has one.
fn begin(table: &Table, file: &TableFile) -> Result<(Input, Vec<String>), TargetError> {
    let options = &table.options;
    let usual = if table.files.format == Format::Tsv { b'\t' } else { b',' };
    let quote = options.quote.unwrap_or(Some(b'"'));
    let mut bytes = stream::text(file, options.encoding.as_deref())?;
    let skip = options.skip.unwrap_or(0);
    for _ in 0..skip {
        skip_line(bytes.as_mut()).map_err(|error| reading(&file.shown, &error))?;
    }
    let delimiter = options.delimiter.unwrap_or(usual);
    let mut records = Records::new(bytes, delimiter, quote, u64::from(skip) + 1);
    if let Some(names) = &options.names {
        return Ok((records, names.clone()));
    }
    let mut record = Record::default();
    let is_there = records.next(&mut record).map_err(|error| reading(&file.shown, &error))?;
    if !is_there {
        return Err(unusable(&file.shown, "is empty: it has not even a header")
            .help("name its columns, if it is to have none: names = [\"id\", \"name\"]"));
    }
    let names = header(table, file, &record)?;
    Ok((records, names))
}

/// Passes over a line, whatever is in it.
fn skip_line(bytes: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = bytes.fill_buf()?;
        let end = memchr::memchr(b'\n', buffer);
        let (length, is_empty) = (buffer.len(), buffer.is_empty());
        bytes.consume(end.map_or(length, |end| end + 1));
        if end.is_some() || is_empty {
            return Ok(());
        }
    }
}

fn header(table: &Table, file: &TableFile, record: &Record) -> Result<Vec<String>, TargetError> {
    if let Some(why) = record.fault {
        return Err(unusable(&file.shown, format!("has a header that {why}")));
    }
    let mut names: Vec<String> = Vec::with_capacity(record.len());
    for place in 0..record.len() {
        let Ok(name) = std::str::from_utf8(record.field(place).0) else {
            return Err(unusable(&file.shown, "has a header that is no text in its encoding")
                .help("name the encoding: encoding = \"latin1\" under [files]"));
        };
        let name = name.trim();
        // What follows the last delimiter of a line that ends with one has no name.
        let name = if name.is_empty() { format!("column_{}", place + 1) } else { name.to_owned() };
        if names.contains(&name) {
            let what = format!("has two columns that are called `{name}`");
            return Err(unusable(&file.shown, what).help(
                "give names of your own, and pass over the header: \
                 file = { skip = 1, names = [\"…\"] } under [from.NAME]",
            ));
        }
        names.push(name);
    }
    let other = [';', '\t', '|', ','].into_iter().find(|other| {
        table.options.delimiter.is_none() && names.len() == 1 && names[0].contains(*other)
    });
    if let Some(other) = other {
        let what = format!("has one column, with `{}` in its name", other.escape_default());
        return Err(unusable(&file.shown, what).help(format!(
            "say what stands between fields: delimiter = \"{}\" under [files]",
            other.escape_default()
        )));
    }
    Ok(names)
}

/// What stands between the fields of a file of which nobody said it, by its header. `None`: what is
/// usual.
pub(crate) fn delimiter(table: &Table) -> Result<Option<u8>, TargetError> {
    let Some(file) = table.files.files.first() else { return Ok(None) };
    let bytes = stream::text(file, table.options.encoding.as_deref())?;
    // One that is in no header: the header is one field.
    let mut records = Records::new(bytes, 0, Some(b'"'), 1);
    let mut record = Record::default();
    let is_there = records.next(&mut record).map_err(|error| reading(&file.shown, &error))?;
    if !is_there || record.len() == 0 {
        return Ok(None);
    }
    let usual = if table.files.format == Format::Tsv { b'\t' } else { b',' };
    let count = |byte: u8| record.field(0).0.iter().filter(|one| **one == byte).count();
    let others = [b';', b'\t', b'|', b','].into_iter().filter(|other| count(*other) > 0);
    Ok(others.max_by_key(|other| count(*other)).filter(|_| count(usual) == 0))
}

/// The first rows of a table's first file that are whole.
pub(crate) fn first_rows(table: &Table, most: usize) -> Result<FirstRows, TargetError> {
    let Some(file) = table.files.files.first() else { return Ok(FirstRows::default()) };
    let (mut records, names) = begin(table, file)?;
    let (mut record, mut rows) = (Record::default(), Vec::new());
    while rows.len() < most
        && records.next(&mut record).map_err(|error| reading(&file.shown, &error))?
    {
        if record.fault.is_some() || record.len() != names.len() {
            continue;
        }
        let text = |place| {
            let (bytes, quoted) = record.field(place);
            let is_null = bytes.is_empty() && !quoted;
            (!is_null).then(|| String::from_utf8_lossy(bytes).into_owned())
        };
        rows.push((0..record.len()).map(text).collect());
    }
    Ok(FirstRows { names, rows })
}

/// About how many rows there are, by the length of the first.
fn estimate(table: &Table) -> Result<Option<u64>, TargetError> {
    let Some(file) = table.files.files.first() else { return Ok(Some(0)) };
    if table.files.files.iter().any(|file| file.packing != Packing::Plain) {
        return Ok(None);
    }
    let (mut records, _) = begin(table, file)?;
    let (mut record, mut count, mut bytes) = (Record::default(), 0, 0);
    while count < ESTIMATE_RECORDS
        && records.next(&mut record).map_err(|error| reading(&file.shown, &error))?
    {
        count += 1;
        // Quotes and the like don't matter for a guess.
        bytes += (0..record.len()).map(|place| record.field(place).0.len() as u64 + 1).sum::<u64>();
    }
    let all: u64 = table.files.files.iter().map(|file| file.stamp.bytes).sum();
    let few = count < ESTIMATE_RECORDS && table.files.files.len() == 1;
    Ok(Some(if few { count } else { all * count / bytes.max(1) }))
}

/// Reads a file's records.
pub(crate) fn read(
    table: &Table,
    shape: &Shape,
    file: &TableFile,
    to: &mut Filling<'_>,
) -> Result<(), TargetError> {
    let (mut records, names) = begin(table, file)?;
    let columns: Option<Vec<&Column>> =
        names.iter().map(|name| shape.columns.iter().find(|column| column.name == *name)).collect();
    // Where each of the file's fields goes.
    let places: Option<Vec<usize>> = names
        .iter()
        .map(|name| shape.columns.iter().position(|column| column.name == *name))
        .collect();
    let (Some(columns), Some(places)) = (columns, places) else {
        return Err(unusable(&file.shown, "was changed while the move was reading"));
    };
    let empty = [String::new()];
    let nulls = table.options.null.as_deref().unwrap_or(&empty);
    let comma = table.options.decimal_comma.unwrap_or(false);
    let mut record = Record::default();
    while records.next(&mut record).map_err(|error| reading(&file.shown, &error))? {
        let (line, last) = (record.line, record.last_line);
        let mut values = vec![Value::Null; columns.len()];
        match fill(&record, &columns, &places, (nulls, comma), &mut values) {
            Ok(()) => to.row(&values, line, last)?,
            Err(why) => to.reject(line, last, why),
        }
    }
    Ok(())
}

fn fill<'r>(
    record: &'r Record,
    columns: &[&Column],
    places: &[usize],
    (nulls, comma): (&[String], bool),
    values: &mut [Value<'r>],
) -> Result<(), String> {
    if let Some(why) = record.fault {
        return Err(why.to_owned());
    }
    if record.len() != columns.len() {
        let fields = if record.len() == 1 { "field" } else { "fields" };
        let columns = columns.len();
        return Err(format!("has {} {fields}, and there are {columns} columns", record.len()));
    }
    for (place, column) in columns.iter().enumerate() {
        let (bytes, quoted) = record.field(place);
        if !quoted && nulls.iter().any(|null| null.as_bytes() == bytes) {
            continue;
        }
        let of = match &column.holds {
            Holds::One(of) => of,
            Holds::Many(_) => &FileType::Text,
        };
        values[places[place]] = std::str::from_utf8(bytes)
            .map_err(|_| "holds bytes that are no text in the file's encoding")
            .and_then(|text| value::parse(of, text, comma))
            .unwrap_or_else(Value::Unreadable);
    }
    Ok(())
}
