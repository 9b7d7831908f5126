use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;

/// A cluster that is written to and compacted while it is looked at. Every call lets time pass.
struct World {
    newest: i64,
    /// What every member is to be compacted to, and how many calls that takes each.
    compact_to: i64,
    calls: u64,
    writes_per_call: i64,
    /// A compaction every so many calls, up to this many revisions behind the newest; 0 for none.
    compact_every: u64,
    keep: i64,
}

struct Model {
    instance: Instance,
    world: Arc<Mutex<World>>,
    /// Revisions that this member is behind.
    lag: i64,
    /// Calls until a compaction reaches it.
    compacts_late: u64,
    compacted: Mutex<(i64, u64)>,
    /// The revision at which its data went wrong.
    wrong_from: Option<i64>,
    denied: bool,
    dead: bool,
}

impl Model {
    fn pass(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().expect("no panic");
        world.calls += 1;
        world.newest += world.writes_per_call;
        if world.compact_every > 0 && world.calls.is_multiple_of(world.compact_every) {
            world.compact_to = world.compact_to.max(world.newest - world.keep);
        }
        world
    }

    /// The compact revision this member is at, after it caught up with what is `to`.
    fn compact(&self, to: i64, calls: u64) -> i64 {
        let mut compacted = self.compacted.lock().expect("no panic");
        if compacted.0 < to {
            if compacted.1 == 0 {
                compacted.1 = calls;
            }
            if calls >= compacted.1 + self.compacts_late {
                *compacted = (to, 0);
            }
        }
        compacted.0
    }
}

impl Replica for Model {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    async fn revision(&self) -> Result<i64, Refusal> {
        match (self.dead, self.denied) {
            (true, _) => Err(Refusal::Failed("no answer".to_owned())),
            (_, true) => Err(Refusal::Denied("permission denied".to_owned())),
            _ => Ok((self.pass().newest - self.lag).max(1)),
        }
    }

    async fn hash(&self, revision: i64) -> Result<(u32, i64), Refusal> {
        let world = self.pass();
        let (newest, compact_to, calls) = (world.newest, world.compact_to, world.calls);
        drop(world);
        let compact_revision = self.compact(compact_to.min(newest - self.lag), calls);
        if revision <= compact_revision {
            return Err(Refusal::Compacted);
        }
        let wrong = self.wrong_from.is_some_and(|from| from <= revision);
        // Any function of what is stored will do, as long as history that is gone changes it.
        let hash = u32::try_from((revision * 31 + compact_revision * 7) % 1_000_003).expect("small");
        Ok((if wrong { hash ^ 0xdead } else { hash }, compact_revision))
    }
}

fn world(writes_per_call: i64, compact_every: u64, keep: i64) -> Arc<Mutex<World>> {
    let world = World { newest: 10_000, compact_to: 0, calls: 0, writes_per_call, compact_every, keep };
    Arc::new(Mutex::new(world))
}

fn member(n: usize, world: &Arc<Mutex<World>>) -> Model {
    Model {
        instance: format!("m{n}:2379").parse().expect("an instance"),
        world: Arc::clone(world),
        lag: 0,
        compacts_late: 0,
        compacted: Mutex::default(),
        wrong_from: None,
        denied: false,
        dead: false,
    }
}

fn checked(members: &[Model]) -> HashCheck {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("runtime");
    runtime.block_on(check(members, 7))
}

#[test]
fn a_wrong_member_is_named_with_the_first_revision_that_differs() {
    for (wrong_from, writes) in [(1, 0), (2, 0), (4_321, 0), (9_999, 3), (10_000, 0)] {
        let world = world(writes, 0, 0);
        let mut members: Vec<Model> = (0..3).map(|n| member(n, &world)).collect();
        members[1].wrong_from = Some(wrong_from);
        let found = checked(&members);
        assert_eq!(found.verdict, HashVerdict::Differ, "{found:?}");
        assert_eq!(found.minority, [members[1].instance.clone()]);
        let expected = Divergence { revision: wrong_from, is_first: wrong_from > 1 };
        assert_eq!(found.divergence, Some(expected), "wrong from {wrong_from}");
    }
}

#[test]
fn two_of_two_that_differ_accuse_nobody() {
    let world = world(0, 0, 0);
    let mut members: Vec<Model> = (0..2).map(|n| member(n, &world)).collect();
    members[0].wrong_from = Some(5_000);
    let found = checked(&members);
    assert_eq!((found.verdict, found.minority.len()), (HashVerdict::Differ, 0));
    assert_eq!(found.divergence.map(|divergence| divergence.revision), Some(5_000));
}

#[test]
fn what_is_older_than_history_is_said_to_be() {
    let world = world(0, 0, 0);
    world.lock().expect("no panic").compact_to = 8_000;
    let mut members: Vec<Model> = (0..3).map(|n| member(n, &world)).collect();
    members[2].wrong_from = Some(100);
    let found = checked(&members);
    assert_eq!(found.divergence, Some(Divergence { revision: 8_001, is_first: false }));
}

#[test]
fn who_cannot_be_compared_is_left_out_with_the_reason() {
    let steady = world(0, 0, 0);
    let mut members: Vec<Model> = (0..3).map(|n| member(n, &steady)).collect();
    members[0].dead = true;
    let found = checked(&members);
    assert_eq!((found.verdict, found.members.len()), (HashVerdict::Agree, 2));
    assert_eq!(found.left_out, [(members[0].instance.clone(), "no answer".to_owned())]);

    members[1].dead = true;
    assert_eq!(checked(&members).verdict, HashVerdict::Unknown, "one alone proves nothing");

    let mut denied: Vec<Model> = (0..3).map(|n| member(n, &steady)).collect();
    denied.iter_mut().for_each(|member| member.denied = true);
    let found = checked(&denied);
    assert_eq!((found.verdict, found.missing_right.as_deref()), (HashVerdict::Unknown, Some(RIGHT)));

    // Others have compacted what it has not even seen.
    let compacted = world(0, 0, 0);
    compacted.lock().expect("no panic").compact_to = 9_000;
    let mut members: Vec<Model> = (0..3).map(|n| member(n, &compacted)).collect();
    members[2].lag = 5_000;
    let found = checked(&members);
    assert_eq!((found.verdict, found.members.len()), (HashVerdict::Agree, 2), "{found:?}");
    assert!(found.left_out[0].1.contains("revision 5000, which others have compacted"), "{found:?}");
}

proptest! {
    /// Writes, compactions that reach members late and in any order, members that are behind: nobody whose data
    /// is right is ever accused.
    #[test]
    fn healthy_members_are_never_accused(
        writes in 0..200_i64,
        compact_every in 0..12_u64,
        keep in 1..400_i64,
        lags in prop::collection::vec(0..300_i64, 2..6),
        late in prop::collection::vec(0..9_u64, 6),
    ) {
        let world = world(writes, compact_every, keep);
        let members: Vec<Model> = lags.iter().zip(&late).enumerate().map(|(n, (lag, late))| Model {
            lag: *lag,
            compacts_late: *late,
            ..member(n, &world)
        }).collect();
        let found = checked(&members);
        prop_assert_ne!(found.verdict, HashVerdict::Differ, "{:?}", found);
    }

    /// A wrong member is found whatever the load, as long as history is not compacted under the check.
    #[test]
    fn a_wrong_member_is_found_under_load(
        writes in 0..200_i64,
        lags in prop::collection::vec(0..300_i64, 3..6),
        wrong in 0..3_usize,
        wrong_from in 1..9_000_i64,
    ) {
        let world = world(writes, 0, 0);
        let members: Vec<Model> = lags.iter().enumerate().map(|(n, lag)| Model {
            lag: *lag,
            wrong_from: (n == wrong).then_some(wrong_from),
            ..member(n, &world)
        }).collect();
        let found = checked(&members);
        prop_assert_eq!(found.verdict, HashVerdict::Differ);
        prop_assert_eq!(found.minority, [members[wrong].instance.clone()]);
        prop_assert_eq!(found.divergence.map(|divergence| divergence.revision), Some(wrong_from));
    }
}
