//! What a move remembers of itself: its secret, its namespaces, its runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use dunlin_model::moves::{IdKind, Mapping};

use super::fixed::Fixed;
use super::plan::MovePlan;
use super::ports::Stored;
use crate::{ErrorKind, TargetError};

/// The area of the state.
pub(super) const AREA: &str = "state";

const FORMAT: u32 = 1;

/// The variable that may hold the secret of derived ids: 64 hexadecimal digits.
pub const KEY_VARIABLE: &str = "DUNLIN_MOVE_KEY";

/// A move's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveState {
    format: u32,
    /// The secret of derived ids in hexadecimal; `None` where it comes from the environment.
    secret: Option<String>,
    /// What tells a wrong secret.
    check: String,
    /// What the mapping's `id_key` was when the first run fixed it.
    id_key: String,
    /// Namespaces with the kind that the first run fixed.
    namespaces: Vec<(String, String)>,
    /// For each rule, from which run on which columns were written: hashes of rows are over those.
    #[serde(default)]
    shapes: BTreeMap<String, Vec<(u32, Vec<String>)>>,
    /// Of which rows rules and namespaces are, and by which key.
    #[serde(default)]
    pub(super) fixed: Fixed,
    /// Runs so far.
    pub runs: u32,
    /// The last one came to its end and was verified.
    pub verified: bool,
    /// Closed by `move finish`.
    pub finished: bool,
    /// Why it was opened again, each time.
    #[serde(default)]
    pub reopened: Vec<String>,
}

impl MoveState {
    /// Out of the store.
    pub(super) fn read(stored: &Stored) -> Result<Self, TargetError> {
        let value = stored.value.as_deref().unwrap_or_default();
        let state: Self = serde_json::from_slice(value).map_err(|_| {
            TargetError::new(ErrorKind::LedgerFormat, "the move's state can't be read")
                .help("a newer version of Dunlin may have written it")
        })?;
        if state.format == FORMAT {
            Ok(state)
        } else {
            Err(TargetError::new(
                ErrorKind::LedgerFormat,
                format!(
                    "the move's state has format {}, this version knows {FORMAT}",
                    state.format
                ),
            )
            .help("use a newer version of Dunlin for this database"))
        }
    }

    pub(super) fn store(&self) -> Result<Stored, TargetError> {
        let value = serde_json::to_vec(self)
            .map_err(|error| TargetError::new(ErrorKind::Bug, format!("no state: {error}")))?;
        Ok(Stored { area: AREA.to_owned(), number: 0, value: Some(value) })
    }

    /// That of a move that has never run, with a new secret or the one of the environment.
    pub(super) fn first(mapping: &Mapping, given: Option<&[u8; 32]>) -> (Self, [u8; 32]) {
        let secret = given.copied().unwrap_or_else(|| {
            let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
            // Of 256 bits 12 are fixed in UUIDs: hashed, none is.
            *blake3::hash(&[*a.as_bytes(), *b.as_bytes()].concat()).as_bytes()
        });
        let state = Self {
            format: FORMAT,
            secret: given.is_none().then(|| hex::encode(secret)),
            check: check(&secret),
            id_key: mapping.id_key.clone().unwrap_or_default(),
            namespaces: Vec::new(),
            shapes: BTreeMap::new(),
            fixed: Fixed::default(),
            runs: 0,
            verified: false,
            finished: false,
            reopened: Vec::new(),
        };
        (state, secret)
    }

    /// Remembers the columns that rules write from a run on.
    pub(super) fn shape(&mut self, plan: &MovePlan, run: u32) {
        for rule in &plan.rules {
            let columns: Vec<String> =
                rule.written.fields.iter().map(|field| field.name.clone()).collect();
            let known = self.shapes.entry(rule.rule.name.clone()).or_default();
            if known.last().is_none_or(|(_, before)| *before != columns) {
                known.push((run, columns));
            }
        }
    }

    /// The columns that each run wrote, by the first run that wrote them.
    pub(super) fn shapes(&self, rule: &str) -> Vec<(u32, Vec<String>)> {
        self.shapes.get(rule).cloned().unwrap_or_default()
    }

    /// Every rule that has ever run.
    pub(super) fn rules(&self) -> BTreeSet<String> {
        self.shapes.keys().cloned().collect()
    }

    /// Opens it again.
    pub(super) fn reopen(&mut self, because: &str) {
        self.finished = false;
        self.reopened.push(because.to_owned());
    }

    /// The secret, once it is known to be the right one.
    pub(super) fn secret(&self, given: Option<&[u8; 32]>) -> Result<[u8; 32], TargetError> {
        let stored = self.secret.as_deref().and_then(parse_secret);
        let Some(secret) = given.copied().or(stored) else {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!("the secret of this move's ids is not in the ledger, and {KEY_VARIABLE} is not set"),
            )
            .help(format!("set {KEY_VARIABLE} to what it was at the first run")));
        };
        if check(&secret) == self.check {
            Ok(secret)
        } else {
            Err(TargetError::new(
                ErrorKind::Refused,
                format!("{KEY_VARIABLE} is not the secret that this move's ids were made with"),
            )
            .help("with another one every derived id would change; set it to what it was, or unset it"))
        }
    }

    /// Refuses a mapping under which ids would change; remembers new namespaces.
    pub(super) fn fix(&mut self, mapping: &Mapping) -> Result<(), TargetError> {
        let id_key = mapping.id_key.clone().unwrap_or_default();
        if self.id_key != id_key {
            return Err(TargetError::new(
                ErrorKind::Refused,
                "`id_key` is another than at the first run: every derived id would change",
            )
            .help(format!("put `id_key = {:?}` back", self.id_key)));
        }
        for spec in &mapping.ids {
            let kind = word(spec.kind);
            match self.namespaces.iter().find(|(name, _)| *name == spec.name) {
                None => self.namespaces.push((spec.name.clone(), kind.to_owned())),
                Some((_, before)) if before == kind => {}
                Some((name, before)) => {
                    return Err(TargetError::new(
                        ErrorKind::Refused,
                        format!("ids of `{name}` were {before} at the first run, and are {kind} now: every one of them would change"),
                    )
                    .help(format!(
                        "{}:{}: put `{before}` back; or give the namespace another name, whose ids are new, after one run with `where = \"false\"` in its rule and in those that refer to it has deleted their rows",
                        mapping.file.display(), spec.line
                    )));
                }
            }
        }
        Ok(())
    }
}

fn word(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Keep => "kept",
        IdKind::Derived => "derived",
        IdKind::Assigned => "assigned",
        IdKind::Matched => "matched",
    }
}

fn check(secret: &[u8; 32]) -> String {
    hex::encode(&blake3::derive_key("dunlin move ids v1: check", secret)[..8])
}

/// 64 hexadecimal digits.
#[must_use]
pub fn parse_secret(text: &str) -> Option<[u8; 32]> {
    let bytes = hex::decode(text.trim()).ok()?;
    bytes.try_into().ok()
}
