//! The faults that etcd meets, and what people should hear of each.

use super::cluster::State;

/// One fault of a cluster that was healthy before and is afterwards.
pub struct Fault {
    pub name: &'static str,
    /// The alerts that are the fault's, with their severity: each must be told, once. None: nothing may be told.
    pub told: &'static [(&'static str, &'static str)],
    /// News that are true and may be told beside.
    pub news: &'static [&'static str],
    pub minutes: f64,
    /// The state `minute` minutes into the fault.
    pub change: fn(f64, &mut State),
}

const fn fault(
    name: &'static str,
    told: &'static [(&'static str, &'static str)],
    minutes: f64,
    change: fn(f64, &mut State),
) -> Fault {
    Fault { name, told, news: &[], minutes, change }
}

const fn with_news(mut fault: Fault, news: &'static [&'static str]) -> Fault {
    fault.news = news;
    fault
}

const W: &str = "warning";
const C: &str = "critical";

fn no_leader(state: &mut State) {
    state.has_leader = [false; 3];
    state.failed_share = 0.5;
    state.writes = 5.0;
    state.pending = 60.0;
    state.slow_reads = 1.0;
    state.grpc_failed_share = 0.5;
    state.request = 7.0;
}

/// Member 2 hears nobody and nobody hears it; the monitor hears all.
fn partition(state: &mut State) {
    state.cut_off[2] = true;
    state.has_leader[2] = false;
    state.slow_reads = 0.5;
}

/// What follows from a disk on which every write waits.
fn disk_stalls(state: &mut State) {
    state.fsync = [0.6, 0.005, 0.005];
    state.commit = [0.9, 0.01, 0.01];
    state.request = 1.5;
    state.pending = 400.0;
    state.slow_applies = 3.0;
    state.late_heartbeats = 0.5;
}

pub const FAULTS: &[Fault] = &[
    fault("member down", &[("EtcdMemberDown", C)], 20.0, |_, s| s.running[1] = false),
    with_news(
        fault("leader down", &[("EtcdMemberDown", C)], 20.0, |_, s| {
            (s.running[0], s.leader, s.term) = (false, 1, 3.0);
        }),
        &["EtcdLeaderChanged"],
    ),
    fault("quorum lost", &[("EtcdQuorumLost", C)], 20.0, |_, s| {
        no_leader(s);
        s.running = [false, false, true];
    }),
    fault("no leader, all up", &[("EtcdQuorumLost", C)], 15.0, |_, s| no_leader(s)),
    with_news(
        fault("leader flaps", &[("EtcdLeaderChanges", W)], 50.0, |m, s| {
            s.term = 2.0 + (m / 5.0).floor() + 1.0;
            s.leader = (m / 5.0) as usize % 3;
        }),
        &["EtcdLeaderChanged"],
    ),
    fault("partition of one member", &[("EtcdPeersCutOff", C)], 15.0, |_, s| partition(s)),
    fault("network slow", &[("EtcdPeerRoundTripSlow", W)], 30.0, |_, s| s.round_trip = 0.6),
    fault("slow fsync", &[("EtcdWalFsyncSlow", W)], 20.0, |_, s| s.fsync[0] = 0.03),
    fault("disk stalls", &[("EtcdWalFsyncSlow", C)], 30.0, |_, s| disk_stalls(s)),
    fault("slow commit", &[("EtcdBackendCommitSlow", W)], 20.0, |_, s| s.commit[1] = 0.1),
    fault("very slow commit", &[("EtcdBackendCommitSlow", C)], 20.0, |_, s| {
        s.commit[1] = 0.9;
        s.request = 0.5;
    }),
    fault("database fills", &[("EtcdDatabaseNearQuota", W), ("EtcdDatabaseNearQuota", C)], 60.0, |m, s| {
        s.database_share = 0.5 + m / 60.0 * 0.45;
    }),
    fault("NOSPACE", &[("EtcdAlarmActive", C)], 20.0, |_, s| {
        (s.database_share, s.alarm, s.grpc_failed_share) = (1.0, Some("NOSPACE"), 0.4);
    }),
    fault("CORRUPT", &[("EtcdAlarmActive", C)], 20.0, |_, s| s.alarm = Some("CORRUPT")),
    fault("proposals fail a little", &[("EtcdProposalsFailing", W)], 20.0, |_, s| s.failed_share = 0.02),
    fault("proposals fail", &[("EtcdProposalsFailing", C)], 20.0, |_, s| s.failed_share = 0.2),
    fault("proposals pile up", &[("EtcdProposalsPending", W)], 20.0, |_, s| s.pending = 400.0),
    fault("apply lags", &[("EtcdApplyLag", W)], 20.0, |_, s| s.apply_lag = 9_000.0),
    fault("applies slow", &[("EtcdSlowApplies", W)], 30.0, |_, s| s.slow_applies = 4.0),
    fault("heartbeats late", &[("EtcdHeartbeatsLate", W)], 30.0, |_, s| s.late_heartbeats = 0.5),
    fault("reads slow", &[("EtcdReadsSlow", W)], 30.0, |_, s| s.slow_reads = 0.5),
    fault("requests fail a little", &[("EtcdGrpcFailing", W)], 30.0, |_, s| s.grpc_failed_share = 0.03),
    fault("requests fail", &[("EtcdGrpcFailing", C)], 30.0, |_, s| s.grpc_failed_share = 0.2),
    fault("requests slow", &[("EtcdRequestsSlow", W)], 30.0, |_, s| s.request = 0.4),
    fault("requests very slow", &[("EtcdRequestsSlow", C)], 30.0, |_, s| s.request = 3.0),
    fault("file descriptors", &[("EtcdFileDescriptorsNearLimit", W)], 20.0, |_, s| s.fd_share = 0.9),
    fault("disk near full", &[("EtcdDiskNearFull", W)], 20.0, |_, s| s.disk_share = 0.9),
    fault("memory near full", &[("EtcdMemoryNearFull", W)], 20.0, |_, s| s.memory_share = 0.9),
    fault("clock off", &[("EtcdClockOff", W)], 20.0, |_, s| s.clock_offset = 2.0),
    fault("member lists disagree", &[("EtcdMemberListsDisagree", C)], 10.0, |_, s| s.member_lists = 2.0),
    fault("data differs", &[("EtcdHashMismatch", C)], 10.0, |_, s| s.hash_mismatch = 1.0),
    fault("learner stuck", &[("EtcdLearnerStuck", W)], 75.0, |_, s| s.learner = true),
    fault("version skew", &[("EtcdVersionSkew", W)], 30.0, |_, s| s.version[2] = "3.4.23"),
    fault("certificate ends in 20 d", &[("EtcdCertificateExpires", W)], 15.0, |_, s| s.cert_days = 20.0),
    fault("certificate ends in 3 d", &[("EtcdCertificateExpires", C)], 15.0, |_, s| s.cert_days = 3.0),
    fault("backup old", &[("EtcdBackupOld", W)], 15.0, |_, s| s.backup_age_hours = 10.0),
    fault("backup very old", &[("EtcdBackupOld", C)], 15.0, |_, s| s.backup_age_hours = 20.0),
    fault("backup missed", &[("EtcdBackupMissed", W)], 15.0, |_, s| s.backup_late_minutes = 10.0),
    fault("backup half as large", &[("EtcdBackupShrank", W)], 15.0, |_, s| s.backup_size_share = 0.5),
    fault("backup bad", &[("EtcdBackupBad", C)], 15.0, |_, s| s.backups_bad = 1.0),
    fault("backup failed", &[("EtcdBackupFailed", W)], 15.0, |_, s| s.backup_failed = 1.0),
    fault("backup unverified", &[("EtcdBackupUnverified", W)], 15.0, |_, s| s.unverified_hours = 30.0),
    fault("restore drill overdue", &[("EtcdRestoreDrillOverdue", W)], 15.0, |_, s| s.drill_age_days = 9.0),
    fault("disk slow", &[("EtcdDiskTooSlow", W)], 15.0, |_, s| s.disk_verdict = 1.0),
    fault("disk unfit", &[("EtcdDiskTooSlow", C)], 15.0, |_, s| s.disk_verdict = 2.0),
    fault("benchmark regressed", &[("EtcdBenchmarkRegressed", W)], 15.0, |_, s| s.bench_regression = 0.5),
    fault("metrics refused", &[("EtcdMetricsMissing", W)], 20.0, |_, s| s.scraped[0] = false),
    fault("monitor blind", &[("EtcdMonitorBlind", C)], 20.0, |_, s| s.watched = false),
    // A range of five minutes holds a spike for as long as their `for`: these are told, and once.
    fault("fsync stalls for 1 min", &[("EtcdWalFsyncSlow", W)], 1.0, |_, s| s.fsync[0] = 0.05),
    fault("all requests wait for 1 min", &[("EtcdRequestsSlow", C)], 1.0, |_, s| s.request = 5.0),
    // What may not be told at all.
    fault("member restarts", &[], 0.5, |_, s| s.running[1] = false),
    with_news(
        fault("leader restarts", &[], 0.5, |_, s| (s.running[0], s.leader, s.term) = (false, 1, 3.0)),
        &["EtcdLeaderChanged"],
    ),
    fault("rolling upgrade", &[], 10.0, |m, s| {
        for member in 0..3 {
            let since = m - 3.0 * member as f64;
            s.running[member] = !(0.0..0.5).contains(&since);
            s.version[member] = if since < 0.0 { "3.5.15" } else { "3.5.16" };
        }
    }),
    fault("scrapes fail for 3 min", &[], 3.0, |_, s| s.scraped[1] = false),
    fault("monitor restarts", &[], 2.0, |_, s| s.watched = false),
    fault("learner joins", &[], 10.0, |_, s| s.learner = true),
    fault("load triples", &[], 60.0, |_, s| s.writes *= 3.0),
];
