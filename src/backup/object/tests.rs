//! There and back, by our own way and by others'.

use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::*;

fn key() -> x25519::Identity {
    x25519::Identity::generate()
}

fn stored(plain: &[u8], pieces: usize, recipients: &[x25519::Recipient]) -> (Vec<u8>, Sums) {
    let mut writer = Writer::new(3, recipients).expect("a writer");
    let mut bytes = Vec::new();
    for piece in plain.chunks(pieces) {
        bytes.extend(writer.push(piece).expect("compressed"));
    }
    let (last, sums) = writer.finish().expect("finished");
    bytes.extend(last);
    (bytes, sums)
}

fn read(
    bytes: &[u8],
    identities: &[x25519::Identity],
    encrypted: bool,
) -> Result<(Vec<u8>, ReadBack), ObjectError> {
    let mut reader = Reader::new(Cursor::new(bytes.to_vec()), encrypted, identities)?;
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain)?;
    Ok((plain, reader.finish()?))
}

/// More than a frame, of which half does not compress.
fn much(length: usize) -> Vec<u8> {
    let noise = (0_u32..).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    noise.zip(0_usize..).map(|(noise, at)| if at / 100 % 2 == 0 { noise } else { 7 }).take(length).collect()
}

#[test]
fn what_is_stored_comes_back() {
    let identity = key();
    for length in [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES + 77] {
        let plain = much(length);
        for recipients in [vec![], vec![key().to_public(), identity.to_public()]] {
            let (bytes, sums) = stored(&plain, 32 << 10, &recipients);
            let (back, found) =
                read(&bytes, std::slice::from_ref(&identity), !recipients.is_empty()).expect("read");
            assert!(back == plain, "{length}");
            assert_eq!(found.stored_bytes, bytes.len() as u64);
            let told = (sums.plain_bytes, sums.plain_sha256, sums.stored_bytes, sums.stored_sha256);
            assert_eq!(
                told,
                (found.plain_bytes, found.plain_sha256, found.stored_bytes, found.stored_sha256)
            );
            assert_eq!(sums.frames, length.div_ceil(FRAME_BYTES) as u64);
        }
    }
}

#[test]
fn each_frame_can_be_read_where_the_table_says_it_is() {
    let plain = much(2 * FRAME_BYTES + 77);
    let (bytes, _) = stored(&plain, 1000, &[]);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
    let end = bytes.len();
    assert_eq!((word(end - 4), bytes[end - 5]), (0x8f92_eab1, 0));
    let count = word(end - 9);
    let table = end - 9 - 8 * count;
    assert_eq!((word(table - 8), word(table - 4)), (0x184d_2a5e, 8 * count + 9));
    let (mut from, mut at) = (0, 0);
    for frame in 0..count {
        let (compressed, length) = (word(table + 8 * frame), word(table + 8 * frame + 4));
        let found = zstd::bulk::decompress(&bytes[from..from + compressed], length).expect("a frame");
        assert!(found == plain[at..at + length]);
        (from, at) = (from + compressed, at + length);
    }
    assert_eq!((from, at), (table - 8, plain.len()));
}

#[test]
fn keys_that_are_none_and_those_of_others_are_refused() {
    assert!(recipient("age1nobody").is_err());
    assert!(identities("# nothing\n\n").is_err());
    let (bytes, _) = stored(b"data", 10, &[key().to_public()]);
    let refused =
        |identities: &[x25519::Identity]| read(&bytes, identities, true).expect_err("refused").to_string();
    assert!(refused(&[]).contains("no identity"));
    assert!(refused(&[key(), key()]).contains("none of the 2 identities"));
}

proptest! {
    #[test]
    fn any_change_is_seen(
        at in 0.0_f64..1.0,
        bit in 0_u8..8,
        cut in prop::bool::ANY,
        encrypted in prop::bool::ANY,
    ) {
        let identity = key();
        let recipients = if encrypted { vec![identity.to_public()] } else { Vec::new() };
        let (mut bytes, sums) = stored(&much(10_000), 999, &recipients);
        let at = (at * bytes.len() as f64) as usize;
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if let Ok((_, found)) = read(&bytes, &[identity], encrypted) {
            // What nobody reads, as in the seek table, is seen by the sum.
            prop_assert!(found.stored_sha256 != sums.stored_sha256);
        }
    }
}
