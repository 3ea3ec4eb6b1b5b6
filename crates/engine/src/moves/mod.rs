//! Moves: an old application's data into a new application's shape, again and again, with ids that
//! stay.

mod absent;
mod again;
mod ahead;
mod arrow_type;
mod assign;
mod bare;
mod breaks;
mod buffer;
mod candidates;
mod chunk;
mod columns;
mod compare;
mod comparison;
mod control;
mod course;
mod decide;
mod differing;
mod exchange;
mod expressions;
mod fixed;
mod foreseen;
mod forget;
mod gate;
mod gated;
mod given;
mod gone;
mod ids;
mod key;
mod key_set;
mod knot;
mod lanes;
mod leader_list;
mod leaders;
mod leading;
mod look;
mod look_up;
mod matched_rule;
mod matching;
mod notes;
mod order;
mod ordered;
mod outline;
mod outputs;
mod pack;
mod pairs;
mod parked;
mod pass;
mod plan;
mod planned;
mod ports;
mod produce;
mod read_rows;
mod recompute;
mod referred;
mod rehearse;
mod rejected;
mod reload;
mod repeatable;
mod report;
mod rights;
mod row_hash;
mod run;
mod sample;
mod session;
mod settle;
mod shapes;
mod spelling;
mod spill;
mod spread;
mod state;
mod stored_lists;
mod suspects;
mod swap;
mod told;
mod told_source;
mod translate;
mod unread;
mod unread_groups;
mod update;
mod values;
mod verdict;
mod verify;
mod writable;
mod writer;

pub use arrow_type::{arrow_field, arrow_schema, arrow_type};
pub use bare::{
    BareTarget, Definition, DefinitionKind, Dropped, Restored, TableDefinitions, TableOutlook,
    dropped, outlook, restore_move,
};
pub use compare::compare;
pub use comparison::{Comparison, Difference, DifferenceKind, RuleComparison};
pub use control::{UnderWay, intend, under_way};
pub use differing::ColumnDifference;
pub use expressions::{
    Applied, Compiled, Compiler, EachSpec, ExpressionError, Expressions, Named, Output, RowFailure,
};
pub use forget::{forget, may_forget};
pub use look::{export_ids, rejects, standing};
pub use outline::{OutlineRule, OutlineStep};
pub use plan::{MovePlan, plan};
pub use planned::source_catalogue;
pub use ports::{
    Batches, COMPARED, ColumnOf, Extract, LedgerUse, MoveConnector, MoveTarget, Refused,
    SPELT_OTHERWISE, Source, SourceConnector, Spelling, Stored, Unread, UnreadRecords, Written,
};
pub use read_rows::{ReadRows, Unreadable, WorkedOut};
pub use report::{Change, MoveReport, NoteKind, Reject, RuleReport, SourceReport};
pub use rights::{Doing, LackedRight, lacked};
pub use run::{MEMORY_BYTES, MoveJob, SOURCE_NOTE, WORKERS, prepare, reopen, run};
pub use sample::{Sample, SampledRow, SampledValue, sample};
pub use state::{KEY_VARIABLE, MoveState, parse_secret};
