//! What clients send: one file per kind of load.

pub(super) mod kv;
pub(super) mod lease;
pub(super) mod stm;
pub(super) mod watch;

/// Paths of etcd's calls.
pub(super) mod path {
    pub(in crate::bench) const PUT: &str = "/etcdserverpb.KV/Put";
    pub(in crate::bench) const RANGE: &str = "/etcdserverpb.KV/Range";
    pub(in crate::bench) const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
    pub(in crate::bench) const TXN: &str = "/etcdserverpb.KV/Txn";
    pub(in crate::bench) const COMPACT: &str = "/etcdserverpb.KV/Compact";
    pub(in crate::bench) const DEFRAGMENT: &str = "/etcdserverpb.Maintenance/Defragment";
    pub(in crate::bench) const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
    pub(in crate::bench) const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
    pub(in crate::bench) const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
    pub(in crate::bench) const WATCH: &str = "/etcdserverpb.Watch/Watch";
    pub(in crate::bench) const LOCK: &str = "/v3lockpb.Lock/Lock";
    pub(in crate::bench) const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
}
