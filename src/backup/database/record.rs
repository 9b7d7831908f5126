//! What etcd writes: revisions as keys, `mvccpb.KeyValue` as values.

use std::fmt;

use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::Damage;

/// The main revision is the transaction's, the other the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub main: i64,
    pub sub: i64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}

const REVISION_BYTES: usize = 17;

impl Revision {
    /// The revision at the beginning of `bytes`: 8 bytes, an underscore, 8 bytes; big-endian.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| -> Option<i64> {
            let number = bytes.get(at..at + 8)?.try_into().ok().map(i64::from_be_bytes)?;
            (number >= 0).then_some(number)
        };
        (bytes.get(8) == Some(&b'_')).then_some(Self { main: number(0)?, sub: number(9)? })
    }
}

/// One change of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub revision: Revision,
    /// The key was deleted.
    pub is_tombstone: bool,
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// How often the key was written since its creation, this time included.
    pub version: i64,
    /// The revision of the key's creation.
    pub create_revision: i64,
    pub mod_revision: i64,
    /// 0 for none.
    pub lease: i64,
}

impl<'a> Record<'a> {
    /// # Errors
    /// When it is none, or says of itself what cannot be.
    pub(super) fn parse(key: &[u8], value: &'a [u8]) -> Result<Self, Damage> {
        let broken = |what: &str| {
            let revision =
                Revision::parse(key).map_or_else(|| format!("{key:02x?}"), |revision| revision.to_string());
            Damage::Record { revision, what: what.to_owned() }
        };
        let revision = Revision::parse(key).ok_or_else(|| broken("its key is no revision"))?;
        let is_tombstone = match key.get(REVISION_BYTES..) {
            Some([]) => false,
            Some([b't']) => true,
            _ => return Err(broken("its key is no revision")),
        };
        let record = Self::decode(value, revision, is_tombstone)
            .ok_or_else(|| broken("its value is no key with its value"))?;
        if record.key.is_empty() {
            return Err(broken("it is of an empty key"));
        }
        // Of a deleted key etcd writes the name alone.
        if !is_tombstone {
            if record.mod_revision != revision.main {
                return Err(broken("it says that it is of another revision"));
            }
            if record.version < 1 || record.create_revision < 1 || record.create_revision > revision.main {
                return Err(broken("its version or its creation cannot be"));
            }
        }
        Ok(record)
    }

    fn decode(mut value: &'a [u8], revision: Revision, is_tombstone: bool) -> Option<Self> {
        let mut record = Self {
            revision,
            is_tombstone,
            key: &[],
            value: &[],
            version: 0,
            create_revision: 0,
            mod_revision: 0,
            lease: 0,
        };
        while !value.is_empty() {
            let (tag, wire_type) = decode_key(&mut value).ok()?;
            match (tag, wire_type) {
                (1, WireType::LengthDelimited) => record.key = bytes(&mut value)?,
                (5, WireType::LengthDelimited) => record.value = bytes(&mut value)?,
                (2..=4 | 6, WireType::Varint) => {
                    let number = decode_varint(&mut value).ok()?.cast_signed();
                    match tag {
                        2 => record.create_revision = number,
                        3 => record.mod_revision = number,
                        4 => record.version = number,
                        _ => record.lease = number,
                    }
                }
                (1..=6, _) => return None,
                _ => skip_field(wire_type, tag, &mut value, DecodeContext::default()).ok()?,
            }
        }
        Some(record)
    }
}

fn bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(from).ok()?).ok()?;
    let found = from.get(..length)?;
    from.advance(length);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(main: i64, sub: i64, end: &[u8]) -> Vec<u8> {
        [&main.to_be_bytes()[..], b"_", &sub.to_be_bytes(), end].concat()
    }

    #[test]
    fn a_record_is_read_and_what_cannot_be_is_refused() {
        // key "a", created at 2, modified at 3, version 2, value "xy", lease 7
        let value = [0x0a, 1, b'a', 0x10, 2, 0x18, 3, 0x20, 2, 0x2a, 2, b'x', b'y', 0x30, 7];
        let at = key(3, 1, b"");
        let record = Record::parse(&at, &value).expect("a record");
        assert_eq!((record.key, record.value, record.lease), (&b"a"[..], &b"xy"[..], 7));
        assert_eq!(
            (record.revision, record.version, record.create_revision),
            (Revision { main: 3, sub: 1 }, 2, 2)
        );
        let tombstone = [0x0a, 1, b'a'];
        assert!(Record::parse(&key(4, 0, b"t"), &tombstone).expect("a tombstone").is_tombstone);
        for (at, value, why) in [
            (key(3, 0, b"x"), &value[..], "no revision"),
            (key(3, 0, b"tt"), &value, "no revision"),
            (key(-3, 0, b""), &value, "no revision"),
            (key(3, 0, b"")[..16].to_vec(), &value, "no revision"),
            (key(4, 0, b""), &value, "another revision"),
            (key(3, 0, b""), &tombstone, "another revision"),
            (key(3, 0, b""), &value[..4], "no key"),
            (key(3, 0, b""), &[0x0a, 200, b'a'], "no key"),
            (key(3, 0, b""), &[0x08, 1], "no key"),
            (key(3, 0, b""), &[0x18, 3], "empty key"),
            (key(3, 0, b""), &[0x0a, 1, b'a', 0x10, 9, 0x18, 3, 0x20, 1], "cannot be"),
        ] {
            let error = Record::parse(&at, value).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
