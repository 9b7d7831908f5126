//! What etcd sends → the bytes of the object, a frame at a time.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;
use age::{Encryptor, x25519};
use zstd::bulk::Compressor;

use super::seek_table::SeekTable;
use super::sum::{Sum, TrailedSum};
use super::{FRAME_BYTES, ObjectError};
use crate::backup::Hex;

/// What passed through a [`Writer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Of what came in.
    pub plain_bytes: u64,
    pub plain_sha256: Hex,
    /// etcd's checksum at its end, if it is right.
    pub trailer: Option<Hex>,
    /// Of what went out.
    pub stored_bytes: u64,
    pub stored_sha256: Hex,
    pub frames: u64,
}

/// Compresses, encrypts and sums up. Takes processor time: use a thread of its own.
pub struct Writer {
    frame: Vec<u8>,
    compressor: Compressor<'static>,
    table: SeekTable,
    plain: TrailedSum,
    stored: Sum,
    output: Output,
}

enum Output {
    Plain(Vec<u8>),
    Encrypted { age: Box<StreamWriter<Shared>>, written: Shared },
}

/// What an age file is written into, and taken from while it is.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// With zstd's compression `level`; encrypted for `recipients`, if there are any.
    ///
    /// # Errors
    /// When the libraries cannot begin.
    pub fn new(level: i32, recipients: &[x25519::Recipient]) -> Result<Self, ObjectError> {
        let mut compressor = Compressor::new(level)?;
        compressor.include_checksum(true)?;
        compressor.include_contentsize(true)?;
        let output = if recipients.is_empty() {
            Output::Plain(Vec::new())
        } else {
            let written = Shared::default();
            let keys = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
            let encryptor =
                Encryptor::with_recipients(keys).map_err(|error| ObjectError::Broken(error.to_string()))?;
            Output::Encrypted { age: Box::new(encryptor.wrap_output(written.clone())?), written }
        };
        Ok(Self {
            frame: Vec::with_capacity(FRAME_BYTES),
            compressor,
            table: SeekTable::default(),
            plain: TrailedSum::new(),
            stored: Sum::new(),
            output,
        })
    }

    /// Takes more of what etcd sends, and gives what is ready to be stored, often nothing.
    ///
    /// # Errors
    /// When it cannot be compressed or encrypted.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, ObjectError> {
        self.plain.add(bytes);
        while self.frame.len() + bytes.len() >= FRAME_BYTES {
            let (now, later) = bytes.split_at(FRAME_BYTES - self.frame.len());
            self.frame.extend_from_slice(now);
            self.end_frame()?;
            bytes = later;
        }
        self.frame.extend_from_slice(bytes);
        Ok(self.take())
    }

    /// The rest of the object, and what it came to.
    ///
    /// # Errors
    /// When it cannot be compressed or encrypted.
    pub fn finish(mut self) -> Result<(Vec<u8>, Sums), ObjectError> {
        if !self.frame.is_empty() {
            self.end_frame()?;
        }
        let table = self.table.to_bytes();
        self.output.write_all(&table)?;
        let last = match self.output {
            Output::Plain(bytes) => bytes,
            Output::Encrypted { age, written } => {
                age.finish()?;
                written.take()
            }
        };
        self.stored.add(&last);
        let plain = self.plain.whole();
        let sums = Sums {
            plain_bytes: plain.bytes,
            plain_sha256: plain.sha256(),
            trailer: self.plain.trailer(),
            stored_bytes: self.stored.bytes,
            stored_sha256: self.stored.sha256(),
            frames: self.table.len() as u64,
        };
        Ok((last, sums))
    }

    fn end_frame(&mut self) -> Result<(), ObjectError> {
        let compressed = self.compressor.compress(&self.frame)?;
        self.table.push(compressed.len(), self.frame.len());
        self.frame.clear();
        self.output.write_all(&compressed)?;
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        let ready = match &mut self.output {
            Output::Plain(bytes) => std::mem::take(bytes),
            Output::Encrypted { written, .. } => written.take(),
        };
        self.stored.add(&ready);
        ready
    }
}

impl Output {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(there) => {
                there.extend_from_slice(bytes);
                Ok(())
            }
            Self::Encrypted { age, .. } => age.write_all(bytes),
        }
    }
}
