//! What a row is that should be, was written, and is there: equal, left as it is, or to be told.

use dunlin_model::moves::{Changed, Conflicts, Deleted, Gone};

use super::comparison::DifferenceKind;
use super::row_hash::RowHash;

/// A row as it should be, as the move wrote it, and as it is.
#[derive(Default, Clone, Copy)]
pub(super) struct Sides {
    pub(super) wanted: Option<RowHash>,
    /// With whether it was written with the columns of now.
    pub(super) written: Option<(RowHash, bool)>,
    pub(super) there: Option<RowHash>,
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
        (Some(_), Some((written, is_current)), Some(there)) => {
            // Written with other columns, it can't be told from here who changed it.
            if written == 0 || written == there || !is_current {
                Verdict::Differs(DifferenceKind::OutOfDate)
            } else {
                left_if(keeps_theirs, DifferenceKind::ChangedThere)
            }
        }
        (None, _, None) => Verdict::Nothing,
        (None, None, Some(_)) => Verdict::Nothing,
        (None, Some((written, _)), Some(there)) => {
            let is_theirs = written != there && written != 0 && keeps_theirs;
            left_if(conflicts.gone_here == Gone::Keep || is_theirs, DifferenceKind::Gone)
        }
    }
}
