//! The bytes of an object → what etcd sent.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use age::{DecryptError, Decryptor, x25519};

use super::ObjectError;
use super::sum::Sum;
use crate::backup::{Hex, Manifest};

/// What etcd sent, read from the object. Reads on until the object ends; then [`Self::finish`] says whether all of it is as
/// its manifest says.
pub struct Reader<R> {
    plain: Box<dyn Read + Send>,
    came_out: Sum,
    went_in: Arc<Mutex<Sum>>,
    source: std::marker::PhantomData<R>,
}

/// What was read, of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBack {
    pub plain_bytes: u64,
    pub plain_sha256: Hex,
    pub stored_bytes: u64,
    pub stored_sha256: Hex,
}

/// Sums up what passes.
struct Counted<R> {
    inner: R,
    sum: Arc<Mutex<Sum>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.add(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<R: Read + Send + 'static> Reader<R> {
    /// Reads the object `stored`, which is encrypted or not.
    ///
    /// # Errors
    /// [`ObjectError`], when it cannot be decrypted or is none.
    pub fn new(stored: R, encrypted: bool, identities: &[x25519::Identity]) -> Result<Self, ObjectError> {
        let went_in = Arc::new(Mutex::new(Sum::new()));
        let counted = Counted { inner: stored, sum: Arc::clone(&went_in) };
        let compressed: Box<dyn Read + Send> = if encrypted {
            if identities.is_empty() {
                return Err(ObjectError::NoIdentity);
            }
            let keys = identities.iter().map(|identity| identity as &dyn age::Identity);
            let decrypted =
                Decryptor::new_buffered(BufReader::new(counted)).and_then(|found| found.decrypt(keys));
            Box::new(decrypted.map_err(|error| match error {
                DecryptError::NoMatchingKeys => ObjectError::WrongIdentity { count: identities.len() },
                DecryptError::Io(error) => ObjectError::Io(error),
                other => ObjectError::Broken(other.to_string()),
            })?)
        } else {
            Box::new(counted)
        };
        let plain = Box::new(zstd::stream::read::Decoder::new(compressed)?);
        Ok(Self { plain, came_out: Sum::new(), went_in, source: std::marker::PhantomData })
    }

    /// What was read, once all of it was: the end of the object is part of it.
    ///
    /// # Errors
    /// When it is not at its end, or what follows is broken.
    pub fn finish(mut self) -> Result<ReadBack, ObjectError> {
        io::copy(&mut self, &mut io::sink())?;
        let went_in = self.went_in.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ReadBack {
            plain_bytes: self.came_out.bytes,
            plain_sha256: self.came_out.sha256(),
            stored_bytes: went_in.bytes,
            stored_sha256: went_in.sha256(),
        })
    }
}

impl<R> Read for Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(into)?;
        self.came_out.add(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl ReadBack {
    /// # Errors
    /// [`ObjectError::Broken`] with what is not as the manifest says.
    pub fn check(&self, manifest: &Manifest) -> Result<(), ObjectError> {
        let broken = |what: String| Err(ObjectError::Broken(what));
        let object = &manifest.object;
        if self.stored_bytes != object.bytes {
            return broken(format!(
                "it has {} bytes, and its manifest says {}",
                self.stored_bytes, object.bytes
            ));
        }
        if self.stored_sha256 != object.sha256 {
            return broken("its SHA-256 is not that of the manifest".to_owned());
        }
        if (self.plain_bytes, self.plain_sha256) != (manifest.bytes, manifest.sha256) {
            return broken("what is in it is not what etcd sent".to_owned());
        }
        Ok(())
    }
}
