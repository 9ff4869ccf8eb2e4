//! What a service does to a robot's conditions.

use theatre_schemas::records::Alert;

use super::{RobotActor, RuleContext};

impl RobotActor {
    /// Parts of these components are new since a moment: conditions that were open then, of rules on
    /// signals of the components, are cleared. A component is named as its signals are:
    /// `arms[1].joints[2]`.
    pub(crate) fn clear_serviced(
        &mut self,
        context: RuleContext<'_>,
        at: i64,
        components: &[String],
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for (dataset, conditions) in self.conditions.iter_mut() {
            let Some(rules) = context.rules.for_name(dataset) else {
                continue;
            };
            let worn = rules.all().filter(|rule| {
                let is_of = |component: &String| is_signal_of(&rule.name, component);
                components.iter().any(is_of)
            });
            for rule in worn {
                // What was normal of the old part says nothing of the new one.
                if let Some(measures) = self.measures.get_mut(dataset)
                    && let Some(memory) = measures.get_mut(&rule.key)
                    && !memory.forget()
                {
                    measures.remove(&rule.key);
                }
                let condition = conditions.get_mut(&rule.key);
                let open = condition.filter(|it| it.raised().is_some_and(|(from, _)| from <= at));
                if let Some(condition) = open {
                    let change = condition.clear(at, None, None, Some("serviced"));
                    alerts.push(context.alert(dataset, rule, change, None));
                }
            }
        }
        alerts
    }
}

/// Whether a signal is one of a component's: the component itself, or a part of it.
fn is_signal_of(signal: &str, component: &str) -> bool {
    signal.strip_prefix(component).is_some_and(|rest| {
        !component.is_empty() && (rest.is_empty() || rest.starts_with(['.', '[']))
    })
}
