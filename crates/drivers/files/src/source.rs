//! A folder as a source.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dunlin_engine::moves::{Batches, Extract, ReadRows, Source, UnreadRecords, arrow_schema};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{
    Catalogue, Field, FileGuess, FileMistake, FileOptions, GuessedColumn, Mapping, Relation,
    SourceSpec, TableName,
};
use tempfile::TempDir;

use crate::fault::{bug, spooling};
use crate::filling::stopped;
use crate::folder::{self, Format};
use crate::guess::guess;
use crate::only::only;
use crate::shape::{Shape, Table};
use crate::stage::{Staged, shape, stage};

/// A folder as it was when it was opened.
pub(crate) struct FilesSource {
    shared: Arc<Shared>,
}

/// What all readers of one snapshot share.
struct Shared {
    folder: PathBuf,
    tables: Mutex<Vec<Table>>,
    shapes: Mutex<HashMap<TableName, Arc<Shape>>>,
    /// Held while files are read: they are read once, whoever asks first.
    copies: Mutex<Copies>,
    stop: Arc<AtomicBool>,
    /// A mapping has said how files are read.
    told: AtomicBool,
}

#[derive(Default)]
struct Copies {
    spool: Option<TempDir>,
    staged: HashMap<TableName, Arc<Staged>>,
}

/// Nobody waits for the rows any more, once it is dropped.
struct Stop(Option<Arc<AtomicBool>>);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that waits for disks, beside everything else.
async fn aside<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, TargetError> + Send + 'static,
) -> Result<T, TargetError> {
    tokio::task::spawn_blocking(job).await.map_err(|_| stopped())?
}

impl FilesSource {
    pub(crate) async fn open(folder: PathBuf) -> Result<Self, TargetError> {
        let shared = aside(move || {
            let tables = folder::tables(&folder)?.into_iter().map(|files| Table {
                files,
                options: FileOptions::default(),
                types: Vec::new(),
                key: Vec::new(),
                remembered: Vec::new(),
                is_read: false,
            });
            Ok(Shared {
                tables: Mutex::new(tables.collect()),
                folder,
                shapes: Mutex::default(),
                copies: Mutex::default(),
                stop: Arc::default(),
                told: AtomicBool::new(false),
            })
        });
        Ok(Self { shared: Arc::new(shared.await?) })
    }
}

impl Shared {
    fn table(&self, name: &TableName) -> Result<Table, TargetError> {
        let tables = held(&self.tables);
        tables.iter().find(|table| table.files.name == *name).cloned().ok_or_else(|| {
            let folder = self.folder.display();
            TargetError::new(ErrorKind::Refused, format!("{folder} has no table `{name}`"))
        })
    }

    fn shape(&self, table: &Table) -> Result<Arc<Shape>, TargetError> {
        if let Some(known) = held(&self.shapes).get(&table.files.name) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(shape(table)?);
        held(&self.shapes).insert(table.files.name.clone(), Arc::clone(&found));
        Ok(found)
    }

    /// Where no mapping says anything, files are taken for what they seem to be.
    fn guess(&self) -> Result<Vec<FileGuess>, TargetError> {
        if self.told.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let mut guesses = Vec::new();
        for table in held(&self.tables).iter_mut() {
            let guess = guess(table)?;
            table.options = guess.options.clone();
            table.types.clone_from(&guess.types);
            table.key.clone_from(&guess.key);
            guesses.push(guess);
        }
        Ok(guesses)
    }

    fn catalogue(&self) -> Result<Catalogue, TargetError> {
        let guesses = self.guess()?;
        let tables = held(&self.tables).clone();
        let any_read = tables.iter().any(|table| table.is_read);
        let mut relations = Vec::with_capacity(tables.len());
        for table in &tables {
            let shape = match self.shape(table) {
                Ok(shape) => shape,
                // A file that nothing reads may be as it is.
                Err(_) if any_read && !table.is_read => Arc::new(Shape::nothing()),
                Err(error) => return Err(error),
            };
            relations.push(Relation {
                name: table.files.name.clone(),
                query: None,
                fields: shape.fields.clone(),
                key: table.key.clone(),
                unique: Vec::new(),
                unique_in_part: Vec::new(),
                foreign_keys: Vec::new(),
                row_count_estimate: shape.rows,
                is_table: true,
            });
        }
        relations.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Catalogue { relations, files: Some(guesses), scales_hold: true })
    }

    /// A table's rows. With the first that is asked for, all files are read that the mapping speaks
    /// of: one that can't be used is known before anything is written.
    fn staged(&self, name: &TableName) -> Result<Arc<Staged>, TargetError> {
        let mut copies = held(&self.copies);
        if let Some(known) = copies.staged.get(name) {
            return Ok(Arc::clone(known));
        }
        let asked = self.table(name)?;
        let others = held(&self.tables).clone();
        let others = others.into_iter().filter(|table| table.is_read);
        let mut wanted: Vec<Table> = others.filter(|table| table.files.name != *name).collect();
        wanted.push(asked);
        for table in &wanted {
            if copies.staged.contains_key(&table.files.name) {
                continue;
            }
            let number = copies.staged.len();
            let spool = match &copies.spool {
                Some(spool) => spool.path().join(number.to_string()),
                None => {
                    let spool = tempfile::Builder::new().prefix("dunlin-files-").tempdir();
                    let spool = spool.map_err(|error| spooling(&error))?;
                    let path = spool.path().join(number.to_string());
                    copies.spool = Some(spool);
                    path
                }
            };
            std::fs::create_dir(&spool).map_err(|error| spooling(&error))?;
            let staged = stage(table, self.shape(table)?.as_ref(), &spool, &self.stop)?;
            copies.staged.insert(table.files.name.clone(), Arc::new(staged));
        }
        copies.staged.get(name).cloned().ok_or_else(stopped)
    }

    fn read(&self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let table = self.table(&extract.table)?;
        if !extract.order.is_empty() && extract.order != table.key {
            let message = format!("rows of {} are in the order of its key alone", extract.table);
            return Err(TargetError::new(ErrorKind::Bug, message));
        }
        let shape = self.shape(&table)?;
        let staged = self.staged(&extract.table)?;
        // The copy gives columns in its own order, each once.
        let place = |name: &str| {
            let found = shape.fields.iter().position(|field| field.name == name);
            found.ok_or_else(|| bug(&format!("{} has no column {name}", extract.table)))
        };
        let mut places = Vec::with_capacity(extract.fields.len() + extract.only.len());
        for field in &extract.fields {
            places.push(place(&field.name)?);
        }
        for (name, _) in &extract.only {
            places.push(place(name)?);
        }
        let mut read = places.clone();
        // What could not be read stands behind the table's own columns.
        read.push(shape.fields.len());
        read.sort_unstable();
        read.dedup();
        let at = |place: usize| read.binary_search(&place).unwrap_or_default();
        let wanted: Vec<(usize, &Field, &str)> = extract
            .only
            .iter()
            .zip(&places[extract.fields.len()..])
            .map(|((_, text), place)| (at(*place), &shape.fields[*place], text.as_str()))
            .collect();
        let order: Vec<usize> =
            places[..extract.fields.len()].iter().map(|place| at(*place)).collect();
        let asked = &places[..extract.fields.len()];
        let schema = Arc::new(arrow_schema(&extract.fields, false));
        for batch in staged.sorted.read(read.clone())? {
            let batch = batch.map_err(|error| spooling(&error))?;
            let batch = only(&batch, &wanted)?;
            let unreadable = staged.flaws.read(batch.column(read.len() - 1), asked)?;
            let batch = batch.project(&order).map_err(|error| bug(&error))?;
            let batch = batch.with_schema(Arc::clone(&schema)).map_err(|error| bug(&error))?;
            let batch = ReadRows::new(batch, unreadable);
            if batch.count() > 0 && !put(&batch, extract.batch_bytes, batches) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Gives a batch away, in pieces where it is larger than wanted. `false`: nobody takes it.
fn put(batch: &ReadRows, bytes: usize, batches: &Batches) -> bool {
    let rows = batch.count();
    let size = batch.rows.get_array_memory_size().max(1);
    let at_once = (rows.saturating_mul(bytes) / size).clamp(1, rows);
    (0..rows).step_by(at_once).all(|from| {
        let some = batch.slice(from, at_once.min(rows - from));
        batches.blocking_send(Ok(some)).is_ok()
    })
}

#[async_trait]
impl Source for FilesSource {
    fn files(&mut self, mapping: &Mapping) -> Result<bool, Vec<FileMistake>> {
        let mut mistakes = Vec::new();
        let mut tables = held(&self.shared.tables);
        let usual = mapping.files.as_ref().map(|files| files.value.clone()).unwrap_or_default();
        for table in tables.iter_mut() {
            let specs: Vec<&SourceSpec> =
                mapping.sources.iter().filter(|spec| of(spec) == table.files.name).collect();
            let name = table.files.name.to_string();
            let names = |from: &str| from == name || specs.iter().any(|spec| spec.name == from);
            let mut froms = mapping.rules.iter().map(|rule| &rule.from);
            let mut left_out = mapping.leave_out.iter().map(|one| &one.from);
            let mut look_ups = mapping.sources.iter().flat_map(|spec| &spec.look_ups);
            table.is_read = froms.any(|from| names(&from.value))
                || left_out.any(|from| names(&from.value))
                || look_ups.any(|one| names(&one.within))
                || mapping.ids.iter().flat_map(|spec| &spec.from).any(|from| names(&from.value));
            table.options = usual.clone();
            if let [first, rest @ ..] = &specs[..] {
                table.key.clone_from(&first.key);
                table.types.clone_from(&first.types);
                if let Some(file) = &first.file {
                    table.options = file.value.or(&usual);
                }
                let same = |spec: &&&SourceSpec| {
                    spec.key == first.key
                        && types(spec) == types(first)
                        && spec.file.as_ref().map(|file| &file.value)
                            == first.file.as_ref().map(|file| &file.value)
                };
                mistakes.extend(rest.iter().find(|spec| !same(spec)).map(|spec| FileMistake {
                    line: spec.line,
                    message: format!(
                        "`{}` and `{}` read the same file, and not in the same way",
                        first.name, spec.name
                    ),
                    help: "give them the same `key`, `types` and `file`".to_owned(),
                }));
            }
            if let Some(declared) =
                table.types.first().filter(|_| table.files.format == Format::Parquet)
            {
                mistakes.push(FileMistake {
                    line: declared.line,
                    message: format!("{} says itself what its columns hold", table.shown()),
                    help: "take `types` away; convert in expressions: CAST(a AS DATE)".to_owned(),
                });
            }
        }
        for spec in mapping.sources.iter().filter(|spec| spec.query.is_some()) {
            mistakes.push(FileMistake {
                line: spec.line,
                message: format!("`{}` is a query, and files answer none", spec.name),
                help: "take `query` away, and say in `where` and `let` what is wanted".to_owned(),
            });
        }
        held(&self.shared.shapes).clear();
        self.shared.told.store(true, Ordering::Relaxed);
        if mistakes.is_empty() { Ok(true) } else { Err(mistakes) }
    }

    fn remember(&mut self, columns: &[GuessedColumn]) {
        for table in held(&self.shared.tables).iter_mut() {
            let name = table.files.name.to_string();
            let own = columns.iter().filter(|one| one.table == name);
            table.remembered = own.map(|one| (one.column.clone(), one.holds.clone())).collect();
        }
        held(&self.shared.shapes).clear();
    }

    fn guessed(&mut self) -> Vec<GuessedColumn> {
        let shapes = held(&self.shared.shapes);
        let tables = held(&self.shared.tables);
        let mut all = Vec::new();
        for table in tables.iter().filter(|table| table.is_read) {
            let guessed = shapes.get(&table.files.name).into_iter().flat_map(|one| &one.guessed);
            all.extend(guessed.map(|(column, holds)| GuessedColumn {
                table: table.files.name.to_string(),
                column: column.clone(),
                holds: holds.clone(),
            }));
        }
        all
    }

    async fn unread(&mut self, table: &TableName) -> Result<UnreadRecords, TargetError> {
        let (shared, table) = (Arc::clone(&self.shared), table.clone());
        aside(move || Ok(shared.staged(&table)?.unread.clone())).await
    }

    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        let shared = Arc::clone(&self.shared);
        aside(move || shared.catalogue()).await
    }

    async fn describe(&mut self, name: &TableName, _: &str) -> Result<Vec<Field>, TargetError> {
        let message = format!("`{name}` is a query, and files answer none");
        Err(TargetError::new(ErrorKind::Unsupported, message))
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        Ok(Some(Box::new(Self { shared: Arc::clone(&self.shared) })))
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let shared = Arc::clone(&self.shared);
        let (extract, batches) = (extract.clone(), batches.clone());
        // Where this call is dropped, reading on would be for nobody.
        let mut stop = Stop(Some(Arc::clone(&self.shared.stop)));
        let read = aside(move || shared.read(&extract, &batches)).await;
        stop.0 = None;
        read
    }
}

/// The file that is meant.
fn of(spec: &SourceSpec) -> TableName {
    spec.table.clone().unwrap_or_else(|| TableName::parse(&spec.name))
}

fn types(spec: &SourceSpec) -> Vec<(&str, &dunlin_model::moves::FileType)> {
    spec.types.iter().map(|one| (one.column.as_str(), &one.file_type)).collect()
}
