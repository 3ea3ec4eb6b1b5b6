//! The right to run: who holds it, and the number that proves that it is still held.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::Version;

/// What a lease is on. Runs on different resources never wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Resource {
    /// All schema migrations of a database, and changes to the ledger's own records.
    Schema,
    /// One data migration.
    Data(Version),
    /// One move, by its name.
    Move(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema => f.write_str("schema"),
            Self::Data(version) => write!(f, "data/{version}"),
            Self::Move(name) => write!(f, "move/{name}"),
        }
    }
}

impl Resource {
    /// Its name in at most so many ASCII bytes (40 at least), where a place cuts longer names or garbles
    /// other letters. No two resources have one.
    #[must_use]
    pub fn within(&self, bytes: usize) -> String {
        let whole = self.to_string();
        if whole.is_ascii() && whole.len() <= bytes {
            return whole;
        }
        let hash = hex::encode(&Sha256::digest(whole.as_bytes())[..8]);
        let begin: String = whole.chars().filter(char::is_ascii).collect();
        let kept = begin.len().min(bytes.saturating_sub(hash.len() + 1));
        // No name of a move has a `~`.
        format!("{}~{hash}", &begin[..kept])
    }
}

/// A process that holds leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// A random UUID, new for each process.
    pub id: String,
    /// The host's name, for people.
    pub host: String,
    /// The process number on that host, for people.
    pub pid: u32,
    /// What tells on the same machine whether the process still lives: boot, process namespace,
    /// pid and start time. Empty where the system can't tell; then only expiry frees a lease.
    pub identity: String,
}

/// A lease that we hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// On what.
    pub resource: Resource,
    /// By whom.
    pub owner: Owner,
    /// The fencing token: grows with every change of hands.
    pub token: i64,
    /// The checkpoint under that token: how many commits the resource has seen. Each commit
    /// compares it and adds one.
    pub commits: i64,
    /// Which of the resource's fences its transactions stand behind: 0, or a lane's number where
    /// several connections write under it at once.
    pub seg: u32,
    /// Further leases of ours that its transactions stand behind as well: each of them compares all
    /// of these too, and counts on all of them. For what must not overlap with several others.
    pub beside: Vec<Lease>,
}

impl Lease {
    /// This one and those beside it, this one first.
    pub fn each(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.beside)
    }

    /// Counts a commit that stood behind it.
    pub fn count_commit(&mut self) {
        self.commits += 1;
        for lease in &mut self.beside {
            lease.commits += 1;
        }
    }
}

/// Somebody else's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseHolder {
    /// On what, as stored: `schema`, `data/20260110094500`.
    pub resource: String,
    /// By whom.
    pub owner: Owner,
    /// Its token.
    pub token: i64,
    /// How many milliseconds of it are left by the server's clock; negative once it has expired.
    pub remaining_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_told_apart() {
        let named = |name: &str| Resource::Move(name.to_owned()).within(40);
        let long = "a_move_whose_name_tells_all_that_there_is";
        assert_eq!(named("shop"), "move/shop");
        assert_eq!(named(&long[..35]), format!("move/{}", &long[..35]));
        let all = [long, &format!("{long}_2"), &format!("{long}_3"), "b\u{fc}cher", "b\u{f6}cher"];
        let mut short: Vec<String> = all.iter().map(|name| named(name)).collect();
        assert!(short.iter().all(|one| one.is_ascii() && one.len() <= 40), "{short:?}");
        assert!(short[0].starts_with("move/a_move_whose_name_~"), "{short:?}");
        short.sort();
        short.dedup();
        assert_eq!(short.len(), all.len());
        let data = Resource::Data(Version::new(i64::MAX).unwrap());
        assert_eq!(data.within(40), data.to_string());
    }
}
