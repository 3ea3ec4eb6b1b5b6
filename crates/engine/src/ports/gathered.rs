//! The rows of a chunk on their way into memory.

use dunlin_model::Row;

use crate::{ErrorKind, TargetError};

/// So many bytes of rows go to a program at a time, or one row.
pub const GATHERED_BYTES_MAX: usize = 8 << 20;

/// Rows of a chunk as they are read. Beyond [`GATHERED_BYTES_MAX`] it keeps none of them: the chunk is
/// read again in parts, so that large rows are in memory one at a time.
#[derive(Debug, Default)]
pub struct Gathered {
    rows: Vec<Row>,
    bytes: usize,
    /// How many rows there was room for, once there is none for another.
    fit: Option<u64>,
}

impl Gathered {
    /// Takes the next row, or forgets it where there are too many already.
    pub fn push(&mut self, row: Row) {
        if self.fit.is_some() {
            return;
        }
        self.bytes += bytes_of(&row);
        if self.bytes > GATHERED_BYTES_MAX && !self.rows.is_empty() {
            self.fit = Some(self.rows.len() as u64);
            self.rows = Vec::new();
        } else {
            self.rows.push(row);
        }
    }

    /// No more rows are wanted.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.fit.is_some()
    }

    /// All rows of the chunk; an error of [`ErrorKind::TooManyBytes`] where there are too many.
    pub fn end(self) -> Result<Vec<Row>, TargetError> {
        match self.fit {
            None => Ok(self.rows),
            Some(fit) => Err(TargetError::new(
                ErrorKind::TooManyBytes { fit },
                format!("the rows of a chunk come to more than {} MiB", GATHERED_BYTES_MAX >> 20),
            )),
        }
    }
}

/// What a row holds in memory, about.
pub(crate) fn bytes_of(row: &Row) -> usize {
    let values = row.values.iter().flatten().map(String::len).sum::<usize>();
    values + row.version.len() + row.key.0.iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use dunlin_model::Key;

    use super::*;

    fn row(bytes: usize) -> Row {
        Row { key: Key(vec![]), version: String::new(), values: vec![Some("x".repeat(bytes))] }
    }

    fn gathered(sizes: &[usize]) -> Result<usize, ErrorKind> {
        let mut gathered = Gathered::default();
        sizes.iter().for_each(|bytes| gathered.push(row(*bytes)));
        gathered.end().map(|rows| rows.len()).map_err(|error| error.kind)
    }

    #[test]
    fn one_row_always_fits() {
        assert_eq!(gathered(&[]), Ok(0));
        assert_eq!(gathered(&[2 * GATHERED_BYTES_MAX]), Ok(1));
        assert_eq!(gathered(&[GATHERED_BYTES_MAX - 1, 1]), Ok(2));
    }

    #[test]
    fn too_many_are_told_with_how_many_fit() {
        let error = |fit| Err(ErrorKind::TooManyBytes { fit });
        assert_eq!(gathered(&[1, 1, GATHERED_BYTES_MAX, 1]), error(2));
        assert_eq!(gathered(&[2 * GATHERED_BYTES_MAX, 0, 1]), error(1));
    }
}
