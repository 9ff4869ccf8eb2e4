//! How a dataset goes on with a later version of its schema.

use super::{Dataset, SchemaError, field_error};

/// What is always possible where a schema cannot follow the one before.
const ANOTHER: &str =
    "give the dataset another name (theatre.dataset), or begin in another data directory (--data)";

impl Dataset {
    /// This dataset as it goes on with a later schema: the columns that are there keep their places
    /// and get the later types, new ones come at the end. So what was written before is read, and
    /// what counts by position goes on.
    ///
    /// # Errors
    /// Names the column that is dropped, or whose type the earlier one does not widen to.
    pub fn followed_by(&self, mut later: Self) -> Result<Self, SchemaError> {
        if self.kind != later.kind {
            return Err(SchemaError::Invalid(format!(
                "dataset '{}' is of kind {:?}, and of kind {:?} in a schema before: {ANOTHER}",
                self.name, later.kind, self.kind
            )));
        }
        let mut order = Vec::with_capacity(later.columns.len());
        for column in &self.columns {
            let Some(at) = later.column(&column.name) else {
                return Err(field_error(
                    &column.name,
                    format!(
                        "was in dataset '{}' before, and is missing in version {}: leave it in, with default null, or {ANOTHER}",
                        self.name, later.version
                    ),
                ));
            };
            let (before, now) = (column.column_type, later.columns[at].column_type);
            if !before.widens_to(now) {
                return Err(field_error(
                    &column.name,
                    format!(
                        "was {before:?} in dataset '{}' before, and is {now:?} in version {}: values of before are none of that type; {ANOTHER}",
                        self.name, later.version
                    ),
                ));
            }
            order.push(at);
        }
        let added =
            (0..later.columns.len()).filter(|at| self.column(&later.columns[*at].name).is_none());
        order.extend(added.collect::<Vec<_>>());
        later.arrange(&order);
        Ok(later)
    }

    /// Puts the columns into another order, given by their present places.
    fn arrange(&mut self, order: &[usize]) {
        let mut places = vec![0; order.len()];
        for (to, from) in order.iter().enumerate() {
            places[*from] = to;
        }
        self.columns = order.iter().map(|at| self.columns[*at].clone()).collect();
        let roles = &mut self.roles;
        roles.robot_id = places[roles.robot_id];
        roles.event_time = places[roles.event_time];
        for role in [
            &mut roles.procedure_id,
            &mut roles.sequence,
            &mut roles.boot_id,
        ] {
            *role = role.map(|at| places[at]);
        }
        for signal in &mut self.signals {
            signal.column = places[signal.column];
        }
        self.signals.sort_by_key(|signal| signal.column);
    }
}
