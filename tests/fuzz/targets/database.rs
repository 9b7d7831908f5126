//! Saved databases as they never were: nothing may panic, run on for ever, or be called whole when it is read twice with
//! different results.
#![no_main]

use etcd_monitor::backup::database::{Progress, contents, examine, sample};
use libfuzzer_sys::fuzz_target;

/// Of a meta page, behind the page's header: what the checksum is of, and where it stands.
const META: usize = 16;
const SUMMED: usize = 56;

/// Makes the meta pages' checksums right again, as otherwise no change would get behind them.
fn mend(data: &mut [u8]) {
    for page in [512, 1024, 2048, 4096, 8192, 16384].into_iter().chain([0]) {
        let Some(meta) = data.get_mut(page + META..page + META + SUMMED + 8) else { continue };
        let (summed, sum) = meta.split_at_mut(SUMMED);
        // Only what is meant to be one.
        if summed.starts_with(&0xED0C_DAED_u32.to_le_bytes()) {
            let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            sum.copy_from_slice(&summed.iter().fold(0xcbf2_9ce4_8422_2325, fnv).to_le_bytes());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    // Without the 32 bytes of etcd's checksum: it would end everything here.
    data.truncate(data.len() - data.len() % 512);
    mend(&mut data);
    let revisions = [0, 1, 20, 25, i64::MAX];
    let one = examine(&data, &revisions, &Progress::default());
    let two = examine(&data, &revisions, &Progress::default());
    assert_eq!(one.damage.is_some(), two.damage.is_some());
    assert_eq!((&one.found, &one.hashes), (&two.found, &two.hashes));
    let read = sample(&data, 8, &Progress::default());
    let seen = contents(&data, b"", 2, 4, &Progress::default());
    if one.damage.is_none() {
        // What is whole can be read, and both say the same.
        assert!(read.is_ok());
        assert_eq!(seen.expect("it is whole").keys, one.found.expect("figures").keys);
    }
});
