//! Recipients that answer some messages with 5xx, and those that forget what they had.

use std::sync::{Arc, Mutex, PoisonError};

use super::*;

#[test]
fn a_message_that_is_answered_with_5xx_holds_up_nothing_but_its_condition() -> Result<()> {
    // What is of the robot that comes first is never taken.
    let bad: Arc<Mutex<Option<String>>> = Arc::default();
    let (chosen, tried) = (bad.clone(), Arc::new(AtomicUsize::new(0)));
    let attempts = tried.clone();
    let receiver = Receiver::start("127.0.0.1:0", Duration::ZERO, move |request| {
        let message: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let robot = message["data"]["robot_id"].as_str().unwrap_or_default();
        let mut chosen = chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if chosen.get_or_insert_with(|| robot.to_owned()) == robot {
            attempts.fetch_add(1, Ordering::Relaxed);
            500
        } else {
            200
        }
    })?;
    let case = Case::new(&webhook(
        "shaky",
        receiver.address(),
        "give_up_after = \"20s\"",
    ))?;
    case.run(&["run", "--until-drained"])?;
    let bad = bad.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let bad = bad.context("nothing came")?;
    let (of_it, others): (Vec<Alert>, Vec<Alert>) = case
        .alerts()?
        .into_iter()
        .partition(|alert| alert.robot_id == bad);
    let mut requests = receiver.requests();
    requests.retain(|request| verified(request).is_ok_and(|alert| alert.robot_id != bad));
    is_whole(&others, &requests)?;
    ensure!(requests.len() == others.len(), "each came once");
    ensure!(tried.load(Ordering::Relaxed) > 2, "it is tried again");
    let list = case.json(&["notify", "list", "--limit", "0"])?;
    let list = list.as_array().context("no list")?;
    ensure!(
        list.len() == of_it.len() && list.iter().all(|line| line["robot_id"] == bad.as_str()),
        "{} of {}: {list:?}",
        list.len(),
        of_it.len()
    );
    Ok(())
}
