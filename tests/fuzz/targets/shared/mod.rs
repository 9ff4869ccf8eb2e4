//! What several targets need: the pipeline of the default configuration.

use std::sync::Arc;

use theatre_actors::time::{Clock, LogTime};
use theatre_config::Config;
use theatre_config::inputs::NoSources;
use theatre_pipeline::PipelineParams;

struct Stands;

impl Clock for Stands {
    fn now(&self) -> LogTime {
        LogTime(1_767_225_600_000_000)
    }
}

/// A clock that stands.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(Stands)
}

/// What the default configuration makes of a pipeline.
#[allow(dead_code)]
pub fn params() -> PipelineParams {
    PipelineParams::from_config(&Config::default(), [7; 32], &NoSources, &clock())
        .expect("the defaults are good")
}
