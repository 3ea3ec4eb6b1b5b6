//! Checksums of a migration's text: two of them, so that reformatting a comment is no drift.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The bytes of a file as they are hashed: without a byte order mark and without carriage returns,
/// so that a checkout with other line ends has the same checksum.
#[must_use]
pub fn normalized(bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().copied().filter(|&b| b != b'\r').collect()
}

/// The checksums of one migration. It has drifted when *both* differ from the ledger's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksums {
    /// SHA-256 of the file's normalised bytes, 64 lower-case hex digits.
    pub text: String,
    /// SHA-256 over the statements' texts (comments between them and white space around them do
    /// not count), 64 lower-case hex digits. For a program: the same as `text`.
    pub statements: String,
}

impl Checksums {
    /// SHA-256 of a file's bytes, normalised, in hex.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> String {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.contains(&b'\r') {
            hex::encode(Sha256::digest(normalized(bytes)))
        } else {
            hex::encode(Sha256::digest(bytes))
        }
    }

    /// SHA-256 over statements' texts, each preceded by its length in bytes so that no two lists
    /// of statements share an input.
    pub fn of_statements<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
        let mut hasher = Sha256::new();
        for text in texts {
            let text = text.replace('\r', "");
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hex::encode(hasher.finalize())
    }

    /// Whether a file with these checksums is what the ledger recorded: either of the two agrees.
    #[must_use]
    pub fn agrees_with(&self, recorded: &Checksums) -> bool {
        self.text == recorded.text || self.statements == recorded.statements
    }
}

impl fmt::Display for Checksums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
