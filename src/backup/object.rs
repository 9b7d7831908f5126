//! The form in which a database is stored, and back.
//!
//! Frames of zstd, each of 4 MiB of what etcd sent, can be read by themselves; where they are says the seek table of zstd's
//! seekable format behind them, which other tools skip. All of it is one age file where it is encrypted. So
//! `age --decrypt | zstd --decompress` gives what etcd sent, without this program.

mod reader;
mod seek_table;
mod sum;
mod writer;

pub use reader::{ReadBack, Reader};
pub use writer::{Sums, Writer};

use age::x25519;

/// Of what etcd sent, in one frame. What a reader holds of it at least.
pub const FRAME_BYTES: usize = 4 << 20;

/// Why an object cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{text:?} is no age public key, which looks like age1…")]
    Recipient { text: String },
    #[error("it is no age secret key, which looks like AGE-SECRET-KEY-1…")]
    Identity,
    #[error("it is encrypted, and there is no identity here to read it with")]
    NoIdentity,
    #[error("it is encrypted, and none of the {count} identities here can read it")]
    WrongIdentity { count: usize },
    #[error("it is not what was stored: {0}")]
    Broken(String),
    #[error("it cannot be read")]
    Io(#[from] std::io::Error),
}

/// A public key to encrypt for.
///
/// # Errors
/// [`ObjectError::Recipient`].
pub fn recipient(text: &str) -> Result<x25519::Recipient, ObjectError> {
    text.trim().parse().map_err(|_| ObjectError::Recipient { text: text.to_owned() })
}

/// The secret keys in `text`: one line each, as `age-keygen` writes them; comments are skipped.
///
/// # Errors
/// [`ObjectError::Identity`].
pub fn identities(text: &str) -> Result<Vec<x25519::Identity>, ObjectError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed: Result<Vec<x25519::Identity>, ObjectError> =
        lines.map(|line| line.parse().map_err(|_| ObjectError::Identity)).collect();
    parsed.and_then(|found| if found.is_empty() { Err(ObjectError::Identity) } else { Ok(found) })
}

#[cfg(test)]
mod tests;
