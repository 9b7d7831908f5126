//! The pages of a bbolt file: two metas, then branches, leaves and what is free.

use std::io;

use super::{Damage, ReadAt};

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;
pub(super) const HEADER_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 16;
/// Of the meta after the page's header; the last 8 are the checksum.
const META_BYTES: usize = 64;
/// What bbolt and its users choose from: the page size of the machine that made the file.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65_536;
/// A page with all its overflow: a leaf holds at least two values, and etcd takes values of `--max-request-bytes`.
const PAGE_BYTES_MAX: u64 = 48 << 20;
/// `freelist` of a file without one: etcd does not write it.
const NO_FREELIST: u64 = u64::MAX;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const FREELIST: u16 = 0x10;

/// Where a bucket's tree begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_bytes: u64,
    pub(super) root: u64,
    pub(super) freelist: Option<u64>,
    /// One more than the last page.
    pub(super) pages: u64,
    pub(super) txid: u64,
}

/// The metas of a file: the newer valid one counts. `flaw` says what is wrong with the other, which a crash can explain and
/// a copy cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metas {
    pub(super) meta: Meta,
    pub(super) flaw: Option<String>,
}

impl Metas {
    /// # Errors
    /// When neither of the two is valid.
    pub(super) fn read(file: &dyn ReadAt) -> Result<Self, Damage> {
        let length = file.length().map_err(|source| Damage::Read { offset: 0, source })?;
        let first = meta_at(file, 0, length);
        // Where the second one is says the first; without it every size is tried, as bbolt does.
        let second = match &first {
            Ok(meta) => meta_at(file, meta.page_bytes, length),
            Err(_) => std::iter::successors(Some(u64::from(*PAGE_SIZES.start())), |size| Some(size * 2))
                .take_while(|size| *size <= u64::from(*PAGE_SIZES.end()))
                .map(|size| meta_at(file, size, length).and_then(|meta| fits(meta, size)))
                .find(Result::is_ok)
                .unwrap_or_else(|| Err("the second meta page is not there".to_owned())),
        };
        match (first, second) {
            (Ok(a), Ok(b)) => Ok(Self { meta: if a.txid > b.txid { a } else { b }, flaw: None }),
            (Ok(meta), Err(why)) | (Err(why), Ok(meta)) => Ok(Self { meta, flaw: Some(why) }),
            (Err(why), Err(_)) => Err(Damage::Foreign(why)),
        }
    }
}

fn fits(meta: Meta, size: u64) -> Result<Meta, String> {
    if meta.page_bytes == size {
        Ok(meta)
    } else {
        Err("the second meta page is not where it says".to_owned())
    }
}

fn meta_at(file: &dyn ReadAt, offset: u64, length: u64) -> Result<Meta, String> {
    let mut bytes = [0; HEADER_BYTES + META_BYTES];
    if length < offset + bytes.len() as u64 {
        return Err(format!("it is {length} bytes long, too short for two meta pages"));
    }
    file.read_at(offset, &mut bytes).map_err(|error| format!("the meta page cannot be read: {error}"))?;
    let header = Header::parse(&bytes).ok_or("a meta page is cut off")?;
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let word = |at| u32_at(body, at).unwrap_or(0);
    let long = |at| u64_at(body, at).unwrap_or(0);
    if word(0) != MAGIC {
        return Err(format!("byte {offset} does not begin a bbolt meta page"));
    }
    if word(4) != VERSION {
        return Err(format!("its bbolt version is {}, not {VERSION}", word(4)));
    }
    if fnv1a(body.get(..META_BYTES - 8).unwrap_or_default()) != long(META_BYTES - 8) {
        return Err(format!("the checksum of the meta page at byte {offset} is wrong"));
    }
    if header.flags & META == 0 {
        return Err(format!("the page at byte {offset} is not marked as a meta page"));
    }
    let page_bytes = word(8);
    if !PAGE_SIZES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return Err(format!("its page size is {page_bytes} bytes"));
    }
    let freelist = Some(long(32)).filter(|page| *page != NO_FREELIST);
    let meta =
        Meta { page_bytes: u64::from(page_bytes), root: long(16), freelist, pages: long(40), txid: long(48) };
    match meta.pages.checked_mul(meta.page_bytes) {
        Some(bytes) if bytes <= length => Ok(meta),
        _ => Err(format!(
            "it has {length} bytes and says that {} pages of {page_bytes} are in use",
            meta.pages
        )),
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    id: u64,
    flags: u16,
    count: u16,
    overflow: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = bytes.get(8..10)?.try_into().ok().map(u16::from_le_bytes)?;
        let count = bytes.get(10..12)?.try_into().ok().map(u16::from_le_bytes)?;
        Some(Self { id: u64_at(bytes, 0)?, flags, count, overflow: u32_at(bytes, 12)? })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Branch,
    Leaf,
}

/// A branch or a leaf with its overflow, or the page that is inside a bucket's value.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// 0 for one inside a value.
    pub(super) id: u64,
    pub(super) sort: Sort,
    count: u16,
    /// How many pages follow that belong to it.
    pub(super) overflow: u32,
    bytes: Vec<u8>,
}

/// An element of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) is_bucket: bool,
}

impl Page {
    /// Reads the page `id` into the memory of `spent`.
    ///
    /// # Errors
    /// When it is none, or reaches beyond what is in use.
    pub(super) fn read(file: &dyn ReadAt, meta: &Meta, id: u64, spent: Vec<u8>) -> Result<Self, Damage> {
        if id < 2 || id >= meta.pages {
            return Err(Damage::page(id, format!("it is out of the file's range of {} pages", meta.pages)));
        }
        let offset = id * meta.page_bytes;
        let mut bytes = spent;
        bytes.clear();
        bytes.resize(usize::try_from(meta.page_bytes).unwrap_or(0), 0);
        let failed = |source: io::Error| Damage::Read { offset, source };
        file.read_at(offset, &mut bytes).map_err(failed)?;
        let header = Header::parse(&bytes).ok_or_else(|| Damage::page(id, "its header is cut off"))?;
        if header.id != id {
            return Err(Damage::page(id, format!("it says that it is page {}", header.id)));
        }
        let overflow = u64::from(header.overflow);
        let whole = (overflow + 1) * meta.page_bytes;
        if id + overflow >= meta.pages {
            return Err(Damage::page(
                id,
                format!("its {overflow} overflow pages reach beyond the file's last page"),
            ));
        }
        if whole > PAGE_BYTES_MAX {
            return Err(Damage::page(
                id,
                format!("it has {whole} bytes, and more than {PAGE_BYTES_MAX} are not read"),
            ));
        }
        if overflow > 0 {
            let first = bytes.len();
            bytes.resize(usize::try_from(whole).unwrap_or(first), 0);
            if let Some(rest) = bytes.get_mut(first..) {
                file.read_at(offset + meta.page_bytes, rest).map_err(failed)?;
            }
        }
        Self::of(id, header, bytes)
    }

    /// The page inside a bucket's value.
    pub(super) fn inline(bytes: &[u8]) -> Result<Self, Damage> {
        let header =
            Header::parse(bytes).ok_or_else(|| Damage::page(0, "a page inside a value is cut off"))?;
        let page = Self::of(0, header, bytes.to_vec())?;
        if page.sort != Sort::Leaf {
            return Err(Damage::page(0, "a page inside a value is no leaf"));
        }
        Ok(page)
    }

    fn of(id: u64, header: Header, bytes: Vec<u8>) -> Result<Self, Damage> {
        let sort = match header.flags {
            BRANCH => Sort::Branch,
            LEAF => Sort::Leaf,
            flags => {
                return Err(Damage::page(id, format!("it is neither branch nor leaf (flags {flags:#06x})")));
            }
        };
        if HEADER_BYTES + usize::from(header.count) * ELEMENT_BYTES > bytes.len() {
            return Err(Damage::page(id, format!("{} elements do not fit into it", header.count)));
        }
        Ok(Self { id, sort, count: header.count, overflow: header.overflow, bytes })
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// The memory, for the next page.
    pub(super) fn into_spent(self) -> Vec<u8> {
        self.bytes
    }

    fn broken(&self, at: usize) -> Damage {
        Damage::page(self.id, format!("element {at} points out of the page"))
    }

    /// A part of the page, given its place relative to element `at`. Keys and values lie behind all elements.
    fn part(&self, at: usize, from: u32, skip: u32, length: u32) -> Option<&[u8]> {
        let element = HEADER_BYTES.checked_add(at.checked_mul(ELEMENT_BYTES)?)?;
        let start = element.checked_add(from as usize)?.checked_add(skip as usize)?;
        if start < HEADER_BYTES + self.len() * ELEMENT_BYTES {
            return None;
        }
        self.bytes.get(start..start.checked_add(length as usize)?)
    }

    /// Element `at` of a branch: the first key below it, and where that is.
    pub(super) fn child(&self, at: usize) -> Result<(&[u8], u64), Damage> {
        let found = || {
            let element = HEADER_BYTES + at * ELEMENT_BYTES;
            let (from, length) = (u32_at(&self.bytes, element)?, u32_at(&self.bytes, element + 4)?);
            Some((self.part(at, from, 0, length)?, u64_at(&self.bytes, element + 8)?))
        };
        found().ok_or_else(|| self.broken(at))
    }

    /// Element `at` of a leaf.
    pub(super) fn item(&self, at: usize) -> Result<Item<'_>, Damage> {
        let found = || {
            let element = HEADER_BYTES + at * ELEMENT_BYTES;
            let flags = u32_at(&self.bytes, element)?;
            let (from, key) = (u32_at(&self.bytes, element + 4)?, u32_at(&self.bytes, element + 8)?);
            let value = u32_at(&self.bytes, element + 12)?;
            let (key, value) = (self.part(at, from, 0, key)?, self.part(at, from, key, value)?);
            (flags <= 1).then_some(Item { key, value, is_bucket: flags == 1 })
        };
        found().ok_or_else(|| self.broken(at))
    }
}

/// What the freelist page says.
pub(super) struct Free {
    pub(super) pages: Vec<u64>,
    /// The pages of the list itself.
    pub(super) own: std::ops::RangeInclusive<u64>,
}

/// The freelist; `None` for a file without one.
///
/// # Errors
/// When it is no freelist, or names pages that cannot be free.
pub(super) fn free_pages(file: &dyn ReadAt, meta: &Meta) -> Result<Option<Free>, Damage> {
    let Some(id) = meta.freelist else { return Ok(None) };
    let read = |offset, into: &mut [u8]| {
        file.read_at(offset, into).map_err(|source| Damage::Read { offset, source })
    };
    if id < 2 || id >= meta.pages {
        return Err(Damage::page(id, "the freelist is out of the file's range"));
    }
    let offset = id * meta.page_bytes;
    let mut bytes = [0; HEADER_BYTES + 8];
    read(offset, &mut bytes)?;
    let header = Header::parse(&bytes).ok_or_else(|| Damage::page(id, "its header is cut off"))?;
    if header.id != id || header.flags != FREELIST {
        return Err(Damage::page(id, "it is not the freelist that the meta page says it is"));
    }
    // A count of 0xffff says that the real one is the first entry.
    let (count, first) = match header.count {
        u16::MAX => (u64_at(&bytes, HEADER_BYTES).unwrap_or(0), 8),
        count => (u64::from(count), 0),
    };
    let overflow = u64::from(header.overflow);
    let room = (overflow + 1) * meta.page_bytes - (HEADER_BYTES as u64 + first);
    if id + overflow >= meta.pages || count > room / 8 || count > meta.pages {
        return Err(Damage::page(id, format!("a freelist of {count} pages does not fit into it")));
    }
    let mut list = vec![0; usize::try_from(count * 8).unwrap_or(0)];
    read(offset + HEADER_BYTES as u64 + first, &mut list)?;
    let free: Vec<u64> = (0..list.len() / 8).filter_map(|at| u64_at(&list, at * 8)).collect();
    if let Some(out) = free.iter().find(|page| !(2..meta.pages).contains(*page)) {
        return Err(Damage::page(id, format!("it says that page {out} is free, which is out of range")));
    }
    Ok(Some(Free { pages: free, own: id..=id + overflow }))
}
