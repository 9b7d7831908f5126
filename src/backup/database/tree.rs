//! The walk through a bucket's tree, in key order, without recursion.

use super::bits::Bits;
use super::page::{Item, Meta, Metas, Page, Sort, free_pages};
use super::{Damage, ReadAt};

/// A tree of branches with two children each is this deep at 2^64 keys.
const DEPTH_MAX: usize = 64;

/// The header of a bucket's value: its root page, and a counter that etcd does not use.
const BUCKET_BYTES: usize = 16;

/// An open database.
pub struct Tree<'a> {
    file: &'a dyn ReadAt,
    metas: Metas,
}

/// A bucket: the page where its tree begins, or, if it is small, its only page.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    root: u64,
    inline: Vec<u8>,
}

/// What a bucket holds, in key order.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

struct Frame {
    page: Page,
    next: usize,
    /// The keys below are not before this one …
    lower: Vec<u8>,
    /// … and before this one.
    upper: Option<Vec<u8>>,
}

impl Frame {
    fn holds(&self, key: &[u8]) -> bool {
        self.lower.as_slice() <= key && self.upper.as_deref().is_none_or(|upper| key < upper)
    }
}

impl<'a> Tree<'a> {
    /// # Errors
    /// When the file has no valid meta page.
    pub fn open(file: &'a dyn ReadAt) -> Result<Self, Damage> {
        Ok(Self { file, metas: Metas::read(file)? })
    }

    pub(super) fn meta(&self) -> &Meta {
        &self.metas.meta
    }

    /// What is wrong with the meta page that does not count.
    pub(super) fn flaw(&self) -> Option<&str> {
        self.metas.flaw.as_deref()
    }

    /// How many pages are in use, as a set to walk with.
    pub(super) fn unseen(&self) -> Bits {
        Bits::below(self.meta().pages)
    }

    /// The buckets, in the order of their names.
    pub(super) fn buckets(&self, seen: &mut Bits) -> Result<Vec<(Vec<u8>, Bucket)>, Damage> {
        let mut buckets = Vec::new();
        let root = Bucket { root: self.meta().root, inline: Vec::new() };
        self.items(&root, seen, &mut |_, item| {
            let name = String::from_utf8_lossy(item.key).into_owned();
            if !item.is_bucket {
                return Err(Damage::Bucket {
                    bucket: name,
                    what: "it is a value beside the buckets".to_owned(),
                });
            }
            buckets.push((item.key.to_vec(), Bucket::parse(&name, item.value)?));
            Ok(())
        })?;
        Ok(buckets)
    }

    /// Calls `each` for what is in `bucket`, with the bytes of the page that a new one begins with (0 else).
    pub(super) fn walk(
        &self,
        name: &[u8],
        bucket: &Bucket,
        seen: &mut Bits,
        each: &mut dyn FnMut(u64, Entry<'_>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        self.items(bucket, seen, &mut |bytes, item| {
            if item.is_bucket {
                let bucket = String::from_utf8_lossy(name).into_owned();
                return Err(Damage::Bucket {
                    bucket,
                    what: "there is a bucket in it, which etcd never makes".to_owned(),
                });
            }
            each(bytes, (item.key, item.value))
        })
    }

    fn items(
        &self,
        bucket: &Bucket,
        seen: &mut Bits,
        each: &mut dyn FnMut(u64, Item<'_>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        let mut spent = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        let mut read = 0;
        let first = match bucket.root {
            0 => Page::inline(&bucket.inline)?,
            root => self.page(root, seen, Vec::new(), &mut read)?,
        };
        let mut stack = vec![Frame { page: first, next: 0, lower: Vec::new(), upper: None }];
        while let Some(depth) = stack.len().checked_sub(1) {
            let Some(frame) = stack.last_mut() else { break };
            let (at, id) = (frame.next, frame.page.id);
            frame.next += 1;
            if at >= frame.page.len() {
                // An empty bucket is an empty leaf; below it there are no empty pages.
                if at == 0 && (depth > 0 || frame.page.sort == Sort::Branch) {
                    return Err(Damage::page(id, "it is empty"));
                }
                spent = stack.pop().map(|frame| frame.page.into_spent()).unwrap_or_default();
                continue;
            }
            if frame.page.sort == Sort::Branch {
                if depth + 1 >= DEPTH_MAX {
                    return Err(Damage::page(id, format!("the tree is more than {DEPTH_MAX} pages deep")));
                }
                let (key, child) = frame.page.child(at)?;
                let next = if at + 1 < frame.page.len() {
                    Some(frame.page.child(at + 1)?.0.to_vec())
                } else {
                    frame.upper.clone()
                };
                if !frame.holds(key) || next.as_deref().is_some_and(|next| key >= next) {
                    return Err(Damage::page(id, format!("the key of element {at} is out of order")));
                }
                let (lower, page) =
                    (key.to_vec(), self.page(child, seen, std::mem::take(&mut spent), &mut read)?);
                stack.push(Frame { page, next: 0, lower, upper: next });
                continue;
            }
            let item = frame.page.item(at)?;
            if !frame.holds(item.key) || last.as_deref().is_some_and(|last| last >= item.key) {
                return Err(Damage::page(id, format!("the key of element {at} is out of order")));
            }
            each(std::mem::take(&mut read), item)?;
            let last = last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(item.key);
        }
        Ok(())
    }

    fn page(&self, id: u64, seen: &mut Bits, spent: Vec<u8>, read: &mut u64) -> Result<Page, Damage> {
        let page = Page::read(self.file, self.meta(), id, spent)?;
        let end = id + u64::from(page.overflow);
        if let Some(twice) = (id..=end).find(|page| !seen.insert(*page)) {
            return Err(Damage::page(twice, "it is part of two pages of the tree"));
        }
        *read += (end - id + 1) * self.meta().page_bytes;
        Ok(page)
    }

    /// Checks what is free against what was `seen` in all buckets. A file without a freelist, as etcd writes them, has
    /// nothing to check: all that is not in the tree is free.
    pub(super) fn check_free(&self, seen: &mut Bits) -> Result<(), Damage> {
        let Some(free) = free_pages(self.file, self.meta())? else { return Ok(()) };
        if let Some(page) = free.pages.into_iter().chain(free.own).find(|page| !seen.insert(*page)) {
            return Err(Damage::page(page, "it is in use, and in the list of what is free"));
        }
        if let Some(page) = (2..self.meta().pages).find(|page| !seen.contains(*page)) {
            return Err(Damage::page(page, "it is neither in use nor in the list of what is free"));
        }
        Ok(())
    }
}

impl Bucket {
    fn parse(name: &str, value: &[u8]) -> Result<Self, Damage> {
        let root = value.get(..8).and_then(|root| root.try_into().ok()).map(u64::from_le_bytes);
        let (Some(root), Some(inline)) = (root, value.get(BUCKET_BYTES..)) else {
            return Err(Damage::Bucket { bucket: name.to_owned(), what: "its header is cut off".to_owned() });
        };
        Ok(Self { root, inline: inline.to_vec() })
    }
}
