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

#[test]
fn an_alertmanager_that_is_started_anew_gets_what_is_open() -> Result<()> {
    let first = Receiver::answering(200)?;
    let address = first.address().to_string();
    let section = format!(
        "[[notify]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://{address}\"\nrepeat_every = \"1s\"\n"
    );
    let case = Case::new(&section)?;
    case.run(&["run", "--until-drained"])?;
    let mut newest = BTreeMap::new();
    let mut alerts = case.alerts()?;
    alerts.sort_by_key(|alert| alert.revision);
    for alert in alerts {
        newest.insert(alert.condition_id.clone(), alert);
    }
    newest.retain(|_, alert| alert.transition != Transition::Cleared);
    ensure!(!newest.is_empty(), "nothing is open, which shows nothing");
    let open: BTreeSet<&str> = newest.keys().map(String::as_str).collect();

    let mut program = spawn(case.data.path(), &case.arguments(&["run"])?)?;
    drop(first.end());
    let anew = Receiver::start(&address, Duration::ZERO, |_| 200)?;
    let came = wait_until(Duration::from_secs(60), || anew.requests().len() > 12);
    program.kill()?;
    program.wait()?;
    ensure!(came, "it was not sent what is open");
    let mut got = BTreeSet::new();
    for request in anew.end() {
        let posted: Vec<Value> = serde_json::from_str(&request.body)?;
        for alert in posted {
            let ends = alert["endsAt"].as_str().context("no end")?;
            let starts = alert["startsAt"].as_str().context("no beginning")?;
            ensure!(ends[..4] > starts[..4], "it fires: {alert}");
            let condition = alert["labels"]["condition_id"].as_str();
            got.insert(condition.context("no condition")?.to_owned());
        }
    }
    let got: BTreeSet<&str> = got.iter().map(String::as_str).collect();
    ensure!(got == open, "{got:?} came, {open:?} are open");
    Ok(())
}
