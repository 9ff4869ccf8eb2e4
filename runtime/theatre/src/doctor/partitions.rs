//! Partitions: configuration, store and log agree on inputs and on their number.

use theatre_actors::ports::Result;
use theatre_operations::checkup::Judgement;

use super::Deployment;
use crate::adapters::{Access, Adapters};

/// Inputs and the number of partitions, as the store has them.
type Layout = Option<(Vec<String>, u32)>;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let Some(params) = deployment.params() else {
        return;
    };
    // A log or a store that does not answer, or that no start has made yet, is the business of
    // other checks.
    #[cfg(feature = "kafka")]
    if matches!(deployment.cluster(), Some(Err(_))) {
        return;
    }
    let Ok((stored, in_log)) = look(deployment, &params.topics) else {
        return;
    };
    for judgement in judge(&params.topics, params.partitions, &stored, &in_log) {
        note(judgement);
    }
}

fn look(deployment: &Deployment, topics: &[String]) -> Result<(Layout, Vec<Option<u32>>)> {
    let adapters = Adapters::new(&deployment.config, &deployment.dir, Access::Read)?;
    let store = adapters.store()?;
    let stored = store.layout()?;
    let log = adapters.log()?;
    let in_log = topics.iter().map(|topic| log.partitions(topic));
    Ok((stored, in_log.collect::<Result<_>>()?))
}

fn judge(
    topics: &[String],
    partitions: u32,
    stored: &Layout,
    in_log: &[Option<u32>],
) -> Vec<Judgement> {
    let mut judged = Vec::new();
    let set_back =
        "set `partitions` to what the store has, or change it by `theatre state repartition`";
    if let Some((known, count)) = stored {
        if *count != partitions {
            judged.push(Judgement::failed(
                format!("the store has {count} partitions, the configuration says {partitions}"),
                set_back,
            ));
        }
        if !topics.starts_with(known) {
            judged.push(Judgement::failed(
                format!(
                    "the store knows the inputs {}, the configuration names {}",
                    known.join(", "),
                    topics.join(", ")
                ),
                "set the inputs back; new ones may be added at the end",
            ));
        }
    }
    let known = |topic: &String| {
        stored
            .as_ref()
            .is_some_and(|(known, _)| known.contains(topic))
    };
    for (topic, found) in topics.iter().zip(in_log) {
        match found {
            None if known(topic) => judged.push(Judgement::failed(
                format!("the store has positions in {topic}, which is not in the log"),
                "find out who deleted it: records that were not processed are gone, and with a new topic its readers stop",
            )),
            Some(found) if *found != partitions => judged.push(Judgement::failed(
                format!("{topic} has {found} partitions, the configuration says {partitions}"),
                "all inputs need one number of partitions: set `partitions` to it before the first start; later run `theatre state repartition`",
            )),
            _ => {}
        }
    }
    if judged.is_empty() {
        judged.push(Judgement::ok(match stored {
            Some(_) => format!("configuration, store and log agree on {partitions}"),
            None => {
                format!("nothing has run on this store yet; the first start records {partitions}")
            }
        }));
    }
    judged
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Verdict::{Failed, Ok as Good};

    use super::*;

    #[test]
    fn inputs_and_their_number_have_to_agree_everywhere() {
        let topics = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let ab = topics("a b");
        for (stored, in_log, verdicts) in [
            (None, [None, None], &[Good][..]),
            (None, [Some(4), Some(4)], &[Good]),
            (None, [Some(4), Some(6)], &[Failed]),
            (Some((ab.clone(), 4)), [Some(4), Some(4)], &[Good]),
            (Some((topics("a"), 4)), [Some(4), None], &[Good]),
            (Some((ab.clone(), 4)), [Some(4), None], &[Failed]),
            (
                Some((ab.clone(), 6)),
                [Some(6), Some(6)],
                &[Failed, Failed, Failed],
            ),
            (Some((topics("b a"), 4)), [Some(4), Some(4)], &[Failed]),
        ] {
            let judged = judge(&ab, 4, &stored, &in_log);
            let found: Vec<_> = judged.iter().map(|one| one.verdict).collect();
            assert_eq!(found, verdicts, "{stored:?} {in_log:?}: {judged:?}");
        }
    }
}
