//! The rules that hold, and how they came to be.

use theatre_actors::control::{self, StandingRules};
use theatre_actors::ports::{CheckpointStore, Error, Result};
use theatre_actors::rules::RuleSpec;

/// The rules of the configuration, changed as far as the first partition that remembers changes has
/// read them. `needs_approval`: a change counts once another person has approved it.
///
/// # Errors
/// When the store cannot be read, or the stored state is damaged or of an unknown version.
pub fn standing_rules(
    store: &dyn CheckpointStore,
    base: &[RuleSpec],
    needs_approval: bool,
) -> Result<StandingRules> {
    let (_, partitions) = store.layout()?.unwrap_or_default();
    for partition in 0..partitions {
        let name = control::name(partition);
        if let Some(stored) = store.processor(partition, &name)? {
            let standing = StandingRules::read(base, needs_approval, Some(&stored.state));
            return standing.map_err(|error| {
                Error::Refused(format!("the state of '{name}' cannot be read: {error}"))
            });
        }
    }
    let standing = StandingRules::read(base, needs_approval, None);
    standing.map_err(|error| Error::Refused(error.to_string()))
}
