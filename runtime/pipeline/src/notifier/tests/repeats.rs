//! Receivers that are sent again what still holds.

use super::*;

const EVERY_S: i64 = 300;

/// Remembers, for each time that it was sent again what holds, which outputs it was said to know.
struct Forgetful {
    receiver: Arc<Receiver>,
    told_again: Mutex<Vec<Vec<u64>>>,
    /// Another process takes the partition while it is sent again what holds.
    is_overtaken: AtomicBool,
}

impl Forgetful {
    fn told_again(&self) -> Vec<Vec<u64>> {
        self.told_again.lock().unwrap().clone()
    }
}

impl OutputSink for Forgetful {
    fn consumer(&self) -> Consumer {
        self.receiver.consumer()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn wants(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<bool> {
        self.receiver.wants(output, store)
    }

    fn take(&self, output: &StoredOutput, store: &dyn CheckpointStore) -> Result<Receipt> {
        self.receiver.take(output, store)
    }

    fn repeats_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(EVERY_S.unsigned_abs()))
    }

    fn repeat(
        &self,
        partition: Partition,
        is_known: &dyn Fn(&StoredOutput) -> bool,
        is_owner: &dyn Fn() -> Result<()>,
        store: &dyn CheckpointStore,
    ) -> Result<Receipt> {
        if self.receiver.is_away.load(Ordering::Relaxed) {
            return Err(Error::Refused("it is away".to_owned()));
        }
        let outputs = store.outputs_after(partition, 0, 99)?;
        let known = outputs.iter().filter(|output| is_known(output));
        let known = known.map(|output| output.sequence).collect();
        if self.is_overtaken.load(Ordering::Relaxed) {
            store.acquire(partition)?;
        }
        is_owner()?;
        self.told_again.lock().unwrap().push(known);
        Ok(Receipt::Taken)
    }
}

fn world() -> (World, Arc<Forgetful>) {
    let mut world = World::new(&[]);
    let sink = Arc::new(Forgetful {
        receiver: Receiver::new("am", &[]),
        told_again: Mutex::default(),
        is_overtaken: AtomicBool::new(false),
    });
    world.params.sinks.push(sink.clone());
    (world, sink)
}

#[test]
fn what_holds_is_told_again_by_the_owner_at_its_start_and_every_so_often() {
    let (mut world, sink) = world();
    let (epoch, mut deliveries) = world.own();
    world.alerts(epoch, 2);
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Worked));
    assert_eq!(
        sink.told_again(),
        Vec::<Vec<u64>>::new(),
        "first what is new"
    );
    assert_eq!(deliveries[0].deliver(true), Ok(Step::Idle));
    assert_eq!(sink.told_again().len(), 0, "not in a hurry");
    for _ in 0..3 {
        assert_eq!(deliveries[0].deliver(false), Ok(Step::Idle));
    }
    assert_eq!(sink.told_again(), [[1, 2]]);
    world.pass(EVERY_S - 1);
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Idle));
    assert_eq!(sink.told_again().len(), 1);
    world.pass(1);
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Idle));
    assert_eq!(sink.told_again().len(), 2);

    let (_, mut next) = world.own();
    world.pass(EVERY_S);
    assert!(matches!(
        deliveries[0].deliver(false),
        Err(Error::StaleEpoch { .. })
    ));
    assert_eq!(next[0].deliver(false), Ok(Step::Idle));
    assert_eq!(sink.told_again().len(), 3, "by its owner alone");
    assert_eq!(sink.receiver.taken(), [1, 2], "no transition comes again");
}

#[test]
fn an_owner_that_is_overtaken_meanwhile_says_no_more_of_what_holds() {
    let (mut world, sink) = world();
    let (epoch, mut deliveries) = world.own();
    world.alerts(epoch, 1);
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Worked));
    sink.is_overtaken.store(true, Ordering::Relaxed);
    assert!(matches!(
        deliveries[0].deliver(false),
        Err(Error::StaleEpoch { .. })
    ));
    assert_eq!(sink.told_again(), Vec::<Vec<u64>>::new());
}

#[test]
fn one_that_waits_for_its_turn_is_not_known_yet() {
    let (mut world, sink) = world();
    let (epoch, mut deliveries) = world.own();
    sink.receiver.puts_off([1]);
    world.commit_of(epoch, OutputKind::Alert, "hot", "a");
    world.commit_of(epoch, OutputKind::Alert, "hot", "b");
    world.commit_of(epoch, OutputKind::Alert, "hot", "a");
    assert!(deliveries[0].deliver(false).is_err());
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Idle));
    assert_eq!(sink.told_again(), [[2]]);
}

#[test]
fn a_receiver_that_does_not_answer_is_told_later_and_stays_named_meanwhile() {
    let (mut world, sink) = world();
    let (epoch, mut deliveries) = world.own();
    world.alerts(epoch, 1);
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Worked));
    sink.receiver.is_away.store(true, Ordering::Relaxed);
    assert!(deliveries[0].deliver(false).is_err());
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Idle));
    assert!(deliveries[0].is_troubled());
    sink.receiver.is_away.store(false, Ordering::Relaxed);
    world.pass(30);
    assert_eq!(deliveries[0].deliver(false), Ok(Step::Idle));
    assert!(!deliveries[0].is_troubled());
    assert_eq!(sink.told_again(), [[1]]);
}
