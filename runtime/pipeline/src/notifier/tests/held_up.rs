//! Receivers that answer with a no that may pass.

use proptest::prelude::*;

use super::*;
use crate::notifier::held::AHEAD_MAX;

/// Transitions of these conditions, in order.
fn world_of(receiver: &Arc<Receiver>, conditions: &[&str]) -> (World, Epoch, Delivery) {
    let mut world = World::new(&[receiver]);
    let (epoch, mut deliveries) = world.own();
    for condition in conditions {
        world.commit_of(epoch, OutputKind::Alert, "hot", condition);
    }
    (world, epoch, deliveries.remove(0))
}

/// What was set aside, and why.
fn set_aside(world: &World) -> Vec<(u64, String)> {
    let undelivered = world.store.undelivered(Some("pager"), 0).unwrap();
    let noted = undelivered.into_iter();
    noted
        .map(|noted| (noted.output.sequence, noted.reason))
        .collect()
}

#[test]
fn an_answer_that_is_no_holds_up_what_is_of_the_same_condition_and_nothing_else() {
    let receiver = Receiver::new("pager", &[]);
    let (mut world, epoch, mut delivery) = world_of(&receiver, &["a", "b", "a", "c"]);
    receiver.puts_off([1]);
    let error = delivery.deliver(true).unwrap_err();
    assert!(error.to_string().contains("answered 500"), "{error}");
    assert_eq!((receiver.taken(), world.position("pager")), (vec![2, 4], 0));
    assert!(!outbox::is_out(
        &world.params,
        &world.store.status(0).unwrap()
    ));
    world.commit_of(epoch, OutputKind::Alert, "hot", "a");
    world.commit_of(epoch, OutputKind::Alert, "hot", "d");
    assert_eq!(
        delivery.deliver(true),
        Ok(Step::Worked),
        "it is named already"
    );
    assert_eq!(delivery.deliver(true), Ok(Step::Idle));
    assert!(delivery.is_troubled(), "it stays named");
    receiver.puts_off([]);
    world.pass(6);
    assert_eq!(delivery.deliver(true), Ok(Step::Worked));
    assert_eq!(receiver.taken(), [2, 4, 6, 1, 3, 5]);
    assert_eq!(world.position("pager"), 6);
    assert!(!delivery.is_troubled());
}

#[test]
fn after_a_crash_what_was_delivered_past_it_comes_again_behind_it() {
    let receiver = Receiver::new("pager", &[]);
    let (world, _, mut delivery) = world_of(&receiver, &["a", "b", "a", "c", "b"]);
    receiver.puts_off([1]);
    assert!(delivery.deliver(true).is_err());
    assert_eq!(
        (receiver.taken(), world.position("pager")),
        (vec![2, 4, 5], 0)
    );
    receiver.puts_off([]);
    let (_, mut deliveries) = world.own();
    assert_eq!(deliveries[0].deliver(true), Ok(Step::Worked));
    assert_eq!(receiver.taken(), [2, 4, 5, 1, 2, 3, 4, 5]);
    assert_eq!(world.position("pager"), 5);
}

#[test]
fn what_is_answered_with_no_for_too_long_is_set_aside_and_its_condition_goes_on() {
    let receiver = Receiver::new("pager", &[]);
    let (mut world, epoch, mut delivery) = world_of(&receiver, &["a", "b"]);
    receiver.puts_off([1]);
    assert!(delivery.deliver(true).is_err());
    world.pass(30);
    world.commit_of(epoch, OutputKind::Alert, "hot", "a");
    assert_eq!(delivery.deliver(true), Ok(Step::Worked));
    world.pass(31);
    assert_eq!(delivery.deliver(true), Ok(Step::Worked));
    assert_eq!((receiver.taken(), world.position("pager")), (vec![2, 3], 3));
    let too_old = "it could not be delivered within 60 s".to_owned();
    assert_eq!(set_aside(&world), [(1, too_old)]);
}

#[test]
fn what_is_refused_behind_one_that_waits_is_not_passed_over_and_holds_up_its_condition() {
    let receiver = Receiver::new("pager", &[2]);
    let (world, _, mut delivery) = world_of(&receiver, &["a", "b", "b", "c"]);
    receiver.puts_off([1]);
    assert!(delivery.deliver(true).is_err());
    assert_eq!((receiver.taken(), world.position("pager")), (vec![4], 0));
    assert_eq!(set_aside(&world), []);
    receiver.puts_off([]);
    world.pass(1);
    assert_eq!(delivery.deliver(true), Ok(Step::Worked));
    assert_eq!(
        (receiver.taken(), world.position("pager")),
        (vec![4, 1, 3], 4)
    );
    assert_eq!(set_aside(&world), [(2, "answered 400".to_owned())]);
}

#[test]
fn a_receiver_that_says_no_to_everything_is_not_asked_all_the_time_and_gets_all_afterwards() {
    let receiver = Receiver::new("pager", &[]);
    let conditions: Vec<String> = (0..40).map(|number| format!("c{}", number % 20)).collect();
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    let (world, _, mut delivery) = world_of(&receiver, &conditions);
    receiver.puts_off(1..=40);
    for pass in 1..=5 {
        assert!(delivery.deliver(true).is_err());
        let asked = receiver.attempts.load(Ordering::Relaxed);
        assert!(asked <= 4 * pass, "{asked} in {pass} passes");
        world.pass(6);
    }
    receiver.puts_off([]);
    while delivery.deliver(true) == Ok(Step::Worked) {}
    let mut taken = receiver.taken();
    assert!((0..20).all(|of| {
        let mut numbers = taken.iter().filter(|number| **number % 20 == of);
        numbers.clone().count() == 2 && numbers.next() < numbers.next()
    }));
    taken.sort_unstable();
    assert_eq!(taken, (1..=40).collect::<Vec<_>>());
    assert_eq!(world.position("pager"), 40);
}

#[test]
fn one_that_is_never_taken_is_given_up_before_too_much_would_come_again() {
    let receiver = Receiver::new("pager", &[]);
    let (mut world, epoch, mut delivery) = world_of(&receiver, &["bad"]);
    receiver.puts_off([1]);
    assert!(delivery.deliver(true).is_err());
    world.alerts(epoch, 2 * AHEAD_MAX);
    while delivery.deliver(true) == Ok(Step::Worked) {}
    assert_eq!(receiver.taken().len() as u64, AHEAD_MAX);
    for _ in 0..5 {
        world.pass(6);
        while delivery.deliver(true) == Ok(Step::Worked) {}
    }
    assert_eq!(set_aside(&world), [], "30 s are not long enough");
    for _ in 0..7 {
        world.pass(6);
        while delivery.deliver(true) == Ok(Step::Worked) {}
    }
    assert_eq!(receiver.taken().len() as u64, 2 * AHEAD_MAX);
    let set_aside = set_aside(&world);
    assert!(
        set_aside.len() == 1 && set_aside[0].1.starts_with("answered 500; meanwhile"),
        "{set_aside:?}"
    );
}

/// What happens next: transitions of a condition, a pass, another owner, or time.
#[derive(Debug, Clone)]
enum Event {
    Commit(u8),
    Deliver,
    Crash,
    Pass(u8),
    Away(bool),
    PutOff(BTreeSet<u64>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u8..4).prop_map(Event::Commit),
        4 => Just(Event::Deliver),
        1 => Just(Event::Crash),
        2 => (0_u8..9).prop_map(Event::Pass),
        1 => any::<bool>().prop_map(Event::Away),
        2 => prop::collection::btree_set(1_u64..30, 0..6).prop_map(Event::PutOff),
    ]
}

proptest! {
    #[test]
    fn whatever_it_answers_each_comes_and_for_the_first_time_in_order_of_its_condition(
        events in prop::collection::vec(event(), 1..60),
        refused in prop::collection::btree_set(1_u64..30, 0..3),
    ) {
        let refused: Vec<u64> = refused.into_iter().collect();
        let receiver = Receiver::new("pager", &refused);
        let (mut world, mut epoch, mut delivery) = world_of(&receiver, &[]);
        let mut condition_of = BTreeMap::new();
        for event in events {
            match event {
                Event::Commit(condition) => {
                    world.commit_of(epoch, OutputKind::Alert, "hot", &format!("c{condition}"));
                    condition_of.insert(world.number, condition);
                }
                Event::Deliver => drop(delivery.deliver(false)),
                Event::Crash => {
                    let (next, mut deliveries) = world.own();
                    (epoch, delivery) = (next, deliveries.remove(0));
                }
                Event::Pass(seconds) => world.pass(seconds.into()),
                Event::Away(is_away) => receiver.is_away.store(is_away, Ordering::Relaxed),
                Event::PutOff(numbers) => receiver.puts_off(numbers),
            }
            let (taken, aside) = (receiver.taken(), set_aside(&world));
            let is_settled = |number: &u64| {
                taken.contains(number) || aside.iter().any(|(of, _)| of == number)
            };
            prop_assert!((1..=world.position("pager")).all(|number| is_settled(&number)));
        }
        receiver.is_away.store(false, Ordering::Relaxed);
        receiver.puts_off([]);
        for _ in 0..99 {
            world.pass(1);
            drop(delivery.deliver(true));
        }
        prop_assert_eq!(world.position("pager"), world.number);
        let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
        for number in receiver.taken() {
            if seen.insert(number) {
                let before = last.insert(condition_of[&number], number);
                prop_assert!(before.is_none_or(|before| before < number), "{:?}", receiver.taken());
            }
        }
        seen.extend(set_aside(&world).into_iter().map(|(number, _)| number));
        prop_assert_eq!(seen.len() as u64, world.number);
    }
}
