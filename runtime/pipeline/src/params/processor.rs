//! What processors do by a configuration: windows, rules, indicators and entities.

use theatre_actors::processor::{EntityConfig, ProcessorConfig, SessionConfig};
use theatre_actors::rules::RuleSet;
use theatre_actors::time::TimePolicy;
use theatre_actors::window::{WindowPlan, WindowSpec};
use theatre_config::check::Faults;
use theatre_config::{Config, RuleText, SessionWindow, WindowConfig};
use theatre_schemas::registry::Registry;

/// The windows of a configuration; `None` where they are at fault.
pub fn window_plan(config: &Config) -> Option<WindowPlan> {
    windows(config, &mut Faults::default())
}

/// The windows of a configuration; faults are added to `faults`.
pub(super) fn windows(config: &Config, faults: &mut Faults) -> Option<WindowPlan> {
    let spec = |window: &WindowConfig| WindowSpec {
        name: window.name.clone(),
        size_us: window.size.0,
        hop_us: window.hop.unwrap_or(window.size).0,
    };
    let plan = |windows: &[WindowConfig]| {
        WindowPlan::new(windows.iter().map(spec).collect(), config.aggregates)
            .map_err(|error| named("windows", &error))
    };
    for window in &config.windows {
        faults.take(plan(std::slice::from_ref(window)));
    }
    faults.take(plan(&config.windows))
}

/// What processors do: rules and indicators, each tried by itself first, so that all faults are
/// named.
pub(super) fn processor(
    config: &Config,
    registry: &Registry,
    windows: WindowPlan,
    faults: &mut Faults,
) -> Option<ProcessorConfig> {
    let text = faults.take(config.rule_text())?;
    let text = RuleText {
        path: config.rule_source(),
        text: &text,
    };
    let specs = match text.whole(registry.datasets(), Some(&windows)) {
        Ok(specs) => specs,
        Err(all) => {
            all.iter().for_each(|fault| faults.add(fault));
            return None;
        }
    };
    let compiled = RuleSet::compile(&specs, registry.datasets());
    let rules = faults.take(compiled.map_err(|error| named("rules", &error)))?;
    let time = TimePolicy {
        reorder_bound_us: config.reorder_bound.0,
        allowed_lateness_us: config.allowed_lateness.0,
        future_tolerance_us: config.future_tolerance.0,
        silence_after_us: config.silence_after.0,
    };
    let entities = entities(config, &windows, registry, faults);
    let made = ProcessorConfig::new(
        time,
        windows,
        rules,
        &config.indicators,
        registry.datasets(),
    );
    let mut processor = faults.take(made)?;
    processor.entities = entities?;
    #[cfg(feature = "test-hooks")]
    {
        processor.panic_on = config.panic_on.clone();
    }
    Some(processor)
}

/// Instruments, components and session windows.
fn entities(
    config: &Config,
    windows: &WindowPlan,
    registry: &Registry,
    faults: &mut Faults,
) -> Option<EntityConfig> {
    let datasets = registry.datasets();
    let (instruments, components) = (&config.instruments, &config.components);
    let made = EntityConfig::new(instruments, components, windows, datasets);
    let mut entities = faults.take(made)?;
    let session = |of: &SessionWindow| SessionConfig {
        name: of.name.clone(),
        dataset: of.dataset.clone(),
        active: of.active.clone(),
        gap_us: of.gap.0,
        longest_us: of.longest.0,
    };
    let sessions: Vec<SessionConfig> = config.sessions.iter().map(session).collect();
    faults.take(entities.add_sessions(&sessions, windows, datasets))?;
    Some(entities)
}

fn named(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what}: {error}")
}
