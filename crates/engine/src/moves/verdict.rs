//! What a row is that should be, was written, and is there: equal, left as it is, or to be told.

use dunlin_model::moves::{Changed, Conflicts, Deleted, Gone};

use super::comparison::DifferenceKind;
use super::row_hash::RowHash;
use super::shapes::WrittenAs;

/// A row as it should be, as the move wrote it, and as it is.
#[derive(Default, Clone, Copy)]
pub(super) struct Sides {
    pub(super) wanted: Option<RowHash>,
    /// With what its hash is over.
    pub(super) written: Option<(RowHash, WrittenAs)>,
    pub(super) there: Option<RowHash>,
    /// What is there, over the columns that were written.
    pub(super) there_as_written: Option<RowHash>,
}

impl Sides {
    /// Whether what stands there is the application's: as a run tells it.
    fn is_theirs(&self) -> bool {
        let Some((written, written_as)) = self.written else { return true };
        match written_as {
            // One that was begun, and whose end was not reached.
            _ if written == 0 => false,
            WrittenAs::Adopted => true,
            WrittenAs::Unknown => false,
            WrittenAs::Now => self.there != Some(written),
            WrittenAs::Before(_) => self.there_as_written != Some(written),
        }
    }
}

/// What is told of a row.
pub(super) enum Verdict {
    Equal,
    /// It is neither wanted nor there.
    Nothing,
    /// Not as it should be, and left so.
    Left(DifferenceKind),
    Differs(DifferenceKind),
}

/// Judges a row.
pub(super) fn judge(sides: Sides, conflicts: Conflicts) -> Verdict {
    let left_if = |left: bool, kind| match left {
        true => Verdict::Left(kind),
        false => Verdict::Differs(kind),
    };
    let keeps_theirs = conflicts.changed_there == Changed::KeepTheirs;
    match (sides.wanted, sides.written, sides.there) {
        (Some(wanted), _, Some(there)) if wanted == there => Verdict::Equal,
        (Some(_), None, None) => Verdict::Differs(DifferenceKind::NotWritten),
        // One that was begun, and whose end was not reached.
        (Some(_), Some((0, _)), None) => Verdict::Differs(DifferenceKind::NotWritten),
        (Some(_), Some(_), None) => {
            left_if(conflicts.deleted_there == Deleted::LeaveDeleted, DifferenceKind::DeletedThere)
        }
        (Some(_), None, Some(_)) => Verdict::Differs(DifferenceKind::AlreadyThere),
        (Some(_), Some(_), Some(_)) if sides.is_theirs() => {
            left_if(keeps_theirs, DifferenceKind::ChangedThere)
        }
        (Some(_), Some(_), Some(_)) => Verdict::Differs(DifferenceKind::OutOfDate),
        (None, _, None) => Verdict::Nothing,
        (None, None, Some(_)) => Verdict::Nothing,
        (None, Some((_, written_as)), Some(_)) => {
            // A row that was there before the move is kept, whatever becomes of the old one.
            let is_theirs = sides.is_theirs() && (keeps_theirs || written_as == WrittenAs::Adopted);
            left_if(conflicts.gone_here == Gone::Keep || is_theirs, DifferenceKind::Gone)
        }
    }
}
