//! The seek table of zstd's seekable format, version 0.1.0: a skippable frame at the end of the others.

/// Of a skippable frame; the format takes this one of the sixteen.
const SKIPPABLE: u32 = 0x184d_2a5e;
/// Ends the table, and so the object.
const SEEKABLE: u32 = 0x8f92_eab1;

/// Where frames are: lengths before and after compression.
#[derive(Debug, Default)]
pub(super) struct SeekTable {
    frames: Vec<(u32, u32)>,
}

impl SeekTable {
    pub(super) fn push(&mut self, compressed: usize, plain: usize) {
        // A frame has a few MiB.
        let length = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.frames.push((length(compressed), length(plain)));
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// The frame that holds it, without checksums of its own: frames have theirs.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let count = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(self.frames.len() * 8 + 9).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.frames.len() * 8 + 17);
        bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        for (compressed, plain) in &self.frames {
            bytes.extend_from_slice(&compressed.to_le_bytes());
            bytes.extend_from_slice(&plain.to_le_bytes());
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&SEEKABLE.to_le_bytes());
        bytes
    }
}
