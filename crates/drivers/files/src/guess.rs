//! What files seem to be, for a first mapping.

use std::collections::HashSet;
use std::io::Read;

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dunlin_engine::TargetError;
use dunlin_model::moves::{DeclaredType, FileGuess, FileOptions, FileType};

use crate::fault::reading;
use crate::folder::Format;
use crate::shape::Table;
use crate::stream;
use crate::{csv, parquet, value};

/// Bytes that tell an encoding.
const LOOK_BYTES: u64 = 256 << 10;

/// Rows that tell types and keys.
const ROWS: usize = 1_000;

/// Types that a column of texts may be of, in the order in which they are tried.
const TYPES: &[FileType] = &[
    FileType::Int64,
    FileType::Decimal,
    FileType::Date(None),
    FileType::Timestamp(None),
    FileType::TimestampTz(None),
    FileType::Uuid,
];

/// The first rows of a file.
#[derive(Default)]
pub(crate) struct FirstRows {
    /// The columns.
    pub(crate) names: Vec<String>,
    /// Their values' texts; NULL is `None`.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Looks at the first rows of a table's first file.
pub(crate) fn guess(table: &Table) -> Result<FileGuess, TargetError> {
    let mut table = table.clone();
    let is_csv = matches!(table.files.format, Format::Csv | Format::Tsv);
    if table.files.format != Format::Parquet {
        table.options.encoding = encoding(&table)?;
    }
    if is_csv {
        table.options.delimiter = csv::delimiter(&table)?;
    }
    let FirstRows { names, rows } = match table.files.format {
        Format::Csv | Format::Tsv => csv::first_rows(&table, ROWS)?,
        Format::Ndjson => FirstRows::default(),
        Format::Parquet => first_rows(&table)?,
    };
    let columns = names.iter().enumerate();
    let texts = |place: usize| rows.iter().map(move |row| row[place].as_deref());
    let types = columns
        .clone()
        .filter(|_| is_csv)
        .filter_map(|(place, name)| {
            let file_type = type_of(texts(place).flatten())?;
            Some(DeclaredType { column: name.clone(), file_type, line: 0 })
        })
        .collect();
    let is_id = |name: &str| name.eq_ignore_ascii_case("id") || name.ends_with("_id");
    let key = columns
        .filter(|(place, name)| *place == 0 || is_id(name))
        .find(|(place, _)| {
            let mut seen = HashSet::new();
            !rows.is_empty() && texts(*place).all(|text| text.is_some() && seen.insert(text))
        })
        .map(|(_, name)| name.clone());
    let options: FileOptions = table.options;
    Ok(FileGuess { table: table.files.name, options, key: key.into_iter().collect(), types })
}

/// `None`: UTF-8, or what a byte order mark says.
fn encoding(table: &Table) -> Result<Option<String>, TargetError> {
    let Some(file) = table.files.files.first() else { return Ok(None) };
    let mut bytes = Vec::new();
    let text = stream::text(file, None)?;
    text.take(LOOK_BYTES).read_to_end(&mut bytes).map_err(|error| reading(&file.shown, &error))?;
    // The last character may be cut.
    let is_utf8 = match std::str::from_utf8(&bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    Ok((!is_utf8).then(|| "windows-1252".to_owned()))
}

/// What all texts are, if it is one thing. Zeros at the beginning make a number a text.
fn type_of<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> Option<FileType> {
    texts.clone().next()?;
    let is_code = |text: &str| {
        let digits = text.trim_start_matches('-');
        (digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0."))
            || text.contains('+')
    };
    let fits = |of: &FileType, text: &str| {
        let is_number = matches!(of, FileType::Int64 | FileType::Decimal);
        value::parse(of, text, false).is_ok() && !(is_number && is_code(text))
    };
    TYPES.iter().find(|of| texts.clone().all(|text| fits(of, text))).cloned()
}

fn first_rows(table: &Table) -> Result<FirstRows, TargetError> {
    let Some(batch) = parquet::first_batch(table)? else { return Ok(FirstRows::default()) };
    let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let options = FormatOptions::default().with_display_error(true);
    let shown = |row: usize| {
        let text = |column: &arrow::array::ArrayRef| {
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
            column.is_valid(row).then(|| formatter.value(row).to_string())
        };
        batch.columns().iter().map(text).collect()
    };
    Ok(FirstRows { names, rows: (0..batch.num_rows()).map(shown).collect() })
}
