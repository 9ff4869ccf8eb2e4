//! Silences that hold.

use std::collections::BTreeMap;

use serde::Serialize;
use theatre_actors::processor::{ProcessorView, SilenceView};

/// How the id of a silence begins that was made for all robots.
pub const WIDE: &str = "all_";

/// A silence that holds, however many robots know of it.
#[derive(Debug, Clone, Serialize)]
pub struct StandingSilence {
    /// What it is.
    #[serde(flatten)]
    pub silence: SilenceView,
    /// The robot that it was made for; `None`: it was made for all of them.
    pub robot_id: Option<String>,
    /// Robots that know of it.
    pub robots: usize,
}

/// The silences of robots, each once, the one that ends first at the beginning.
pub fn standing_silences<'a>(
    robots: impl Iterator<Item = &'a ProcessorView>,
) -> Vec<StandingSilence> {
    let mut standing: BTreeMap<&str, StandingSilence> = BTreeMap::new();
    for view in robots {
        for silence in &view.silences {
            let known = standing
                .entry(&silence.silence_id)
                .or_insert_with(|| StandingSilence {
                    silence: silence.clone(),
                    robot_id: Some(view.robot_id.clone()),
                    robots: 0,
                });
            known.robots += 1;
        }
    }
    let mut standing: Vec<StandingSilence> = standing.into_values().collect();
    for known in &mut standing {
        let of = &known.silence;
        let narrows = of.facility_id.is_some() || of.robot_model.is_some();
        if of.silence_id.starts_with(WIDE) || narrows || known.robots > 1 {
            known.robot_id = None;
        }
    }
    standing.sort_by_key(|known| known.silence.until);
    standing
}
