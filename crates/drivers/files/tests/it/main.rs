//! Folders of files as sources.

mod dirty;
mod formats;
mod order;
mod round_trip;

use std::fs;
use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dunlin_engine::TargetError;
use dunlin_engine::moves::{Extract, ReadRows, Source, SourceConnector, UnreadRecords};
use dunlin_files::FilesConnector;
use dunlin_model::moves::{FileMistake, Mapping, Relation, TableName};
use dunlin_project::moves::parse_mapping;
use tempfile::TempDir;

/// A folder of files.
struct Folder {
    dir: TempDir,
}

impl Folder {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    async fn open(&self) -> Box<dyn Source> {
        FilesConnector::new(".", self.dir.path()).open().await.expect("the folder")
    }

    /// Opens it as a mapping says, all of whose sources are read.
    async fn opened(&self, says: &str) -> Box<dyn Source> {
        let mut source = self.open().await;
        source.files(&mapping(says)).expect("it fits");
        source
    }

    async fn refused(&self, says: &str) -> TargetError {
        let mut source = self.opened(says).await;
        source.catalogue().await.expect_err("it is unusable")
    }

    async fn mistakes(&self, says: &str) -> Vec<FileMistake> {
        self.open().await.files(&mapping(says)).expect_err("it does not fit")
    }

    /// All rows of a table, in the order of its key, and what is none.
    async fn read(&self, table: &str, says: &str) -> (Vec<Vec<String>>, UnreadRecords) {
        let mut source = self.opened(says).await;
        let rows = rows(source.as_mut(), table).await.expect("its rows");
        (rows, source.unread(&TableName::parse(table)).await.expect("the rest"))
    }
}

/// A mapping with a rule for each `[from.NAME]`, so that all are read.
fn mapping(says: &str) -> Mapping {
    let names = says.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("[from.")?.strip_suffix(']')?;
        Some(format!("[into.{name}]\nfrom = \"{name}\"\nset.a = \"1\"\n"))
    });
    let rules: String = names.collect();
    let text = format!("source = \"old\"\ntarget = \"app\"\n{says}\n{rules}");
    parse_mapping("test", Path::new("moves/test.toml"), &text).unwrap_or_else(|wrong| {
        panic!("{wrong:?}\n{text}");
    })
}

async fn relation(source: &mut dyn Source, table: &str) -> Relation {
    let catalogue = source.catalogue().await.expect("a catalogue");
    catalogue.relation(&TableName::parse(table)).cloned().expect("the table")
}

async fn rows(source: &mut dyn Source, table: &str) -> Result<Vec<Vec<String>>, TargetError> {
    let catalogue = source.catalogue().await?;
    let relation = catalogue.relation(&TableName::parse(table)).expect("the table");
    let order = relation.key.clone();
    let extract = Extract {
        table: relation.name.clone(),
        query: None,
        fields: relation.fields.clone(),
        order,
        only: Vec::new(),
        batch_bytes: 1 << 20,
    };
    read(source, &extract).await
}

async fn read(source: &mut dyn Source, extract: &Extract) -> Result<Vec<Vec<String>>, TargetError> {
    let (batches, mut received) = tokio::sync::mpsc::channel(2);
    let reading = async {
        let read = source.read(extract, &batches).await;
        drop(batches);
        read
    };
    let taking = async {
        let mut all = Vec::new();
        while let Some(batch) = received.recv().await {
            all.extend(shown_read(&batch.expect("a batch")));
        }
        all
    };
    let (read, rows) = tokio::join!(reading, taking);
    read.map(|()| rows)
}

/// Why a value could not be read stands in its place.
fn shown_read(read: &ReadRows) -> Vec<Vec<String>> {
    let mut rows = shown(&read.rows);
    for one in &read.unreadable {
        let cell = &mut rows[one.row as usize][one.column];
        assert_eq!(*cell, "NULL", "NULL stands for what can't be read");
        *cell = format!("({})", one.why);
    }
    rows
}

/// NULL is `NULL`.
fn shown(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    // Names of zones need a table that tests do without.
    let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
    let values: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Timestamp(_, Some(_)) => cast(column, &plain).expect("an instant"),
            _ => column.clone(),
        })
        .collect();
    let columns: Vec<ArrayFormatter<'_>> = values
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("it can be shown"))
        .collect();
    assert!(batch.columns().iter().all(|column| column.len() == batch.num_rows()));
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn told(unread: &UnreadRecords) -> Vec<String> {
    unread.first.iter().map(|one| format!("{} {}", one.place, one.reason)).collect()
}
