//! The schemas of one input: what is known, and when a source is asked again.
//!
//! Called by intakes of any partition, from their threads; an intake keeps the schemas it met, so
//! that no lock is taken while ids repeat. One caller asks at a time; the others wait for its
//! answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use theatre_actors::ports::{Error, Result, SchemaSource};
use theatre_actors::time::Clock;
use theatre_config::CONTROL_TOPICS;
use theatre_schemas::dataset::{Dataset, DatasetIndex, DatasetKind};
use theatre_schemas::framing::SchemaId;
use theatre_schemas::registry::{Registry, WriterSchema};

/// An id that is not found is asked again after this long, then twice as long, microseconds.
const ASK_AGAIN_US: i64 = 250_000;
/// An id that is not found for this long is believed to be none: a producer registers a schema
/// before it uses it, but registries replicate.
const PATIENCE_US: i64 = 2_000_000;
/// What is believed to be none is not asked for so long.
const ABSENT_US: i64 = 60_000_000;
/// So many ids of an input are waited for within that time; further ones are believed at once, or
/// rubbish would hold a partition up.
const WAITED_FOR_MAX: usize = 4;
/// Ids that are remembered as not found or unusable.
const REMEMBERED_MAX: usize = 1024;

/// What an id means.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This schema.
    Known(Arc<WriterSchema>),
    /// There is no such id.
    Unknown,
    /// There is, but its records cannot be read; says why.
    Unusable(String),
}

/// Whom an input asks, and which dataset its records go to.
pub struct Target {
    /// The source.
    pub source: Arc<dyn SchemaSource>,
    /// The dataset; absent: the schema's `theatre` property names one of the known ones.
    pub dataset: Option<DatasetIndex>,
}

#[derive(Debug, Clone)]
struct Missing {
    since: i64,
    /// Not asked before this.
    until: i64,
    wait: i64,
    /// Set once it is believed.
    verdict: Option<Answer>,
}

/// The schemas of one input.
pub struct InputSchemas {
    topic: String,
    registry: Arc<Registry>,
    /// True when ids that the registry knows mean what it says; a source of its own numbers its
    /// schemas itself.
    shares: bool,
    target: Option<Target>,
    known: RwLock<HashMap<SchemaId, Arc<WriterSchema>, foldhash::fast::RandomState>>,
    missing: Mutex<HashMap<SchemaId, Missing>>,
    clock: Arc<dyn Clock>,
}

impl InputSchemas {
    /// An input that knows the registry's schemas only.
    pub fn shared(topic: &str, registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        Self::new(topic, registry, true, None, clock)
    }

    /// Whether its records may be for all robots of a partition.
    pub fn reaches_partitions(&self) -> bool {
        match self.declared() {
            Some(kind) => kind.reaches_partitions(),
            None => CONTROL_TOPICS.contains(&self.topic.as_str()),
        }
    }

    /// Whether its records are changes of rules.
    pub fn changes_rules(&self) -> bool {
        match self.declared() {
            Some(kind) => kind == DatasetKind::RuleChanges,
            None => self.topic == CONTROL_TOPICS[1],
        }
    }

    /// The kind of the dataset that its input declares.
    fn declared(&self) -> Option<DatasetKind> {
        let declared = self.target.as_ref().and_then(|target| target.dataset);
        declared.map(|index| self.registry.datasets().get(index).kind)
    }

    /// An input that asks `target` for what it does not know; with `shares`, after the registry.
    pub fn new(
        topic: &str,
        registry: Arc<Registry>,
        shares: bool,
        target: Option<Target>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (known, missing) = (RwLock::default(), Mutex::default());
        Self {
            topic: topic.to_owned(),
            registry,
            shares,
            target,
            known,
            missing,
            clock,
        }
    }

    /// What an id means.
    ///
    /// # Errors
    /// `Unavailable` while the schema cannot be looked up: the source does not answer, or it is to
    /// be asked again soon. Nothing may be concluded of the record then.
    pub fn answer(&self, id: SchemaId) -> Result<Answer> {
        if let Some(known) = self.registry.lookup(id).filter(|_| self.shares) {
            return Ok(Answer::Known(known.clone()));
        }
        if let Some(known) = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
        {
            return Ok(Answer::Known(known.clone()));
        }
        let Some(target) = &self.target else {
            return Ok(Answer::Unknown);
        };
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().0;
        if let Some(before) = missing.get(&id).filter(|before| now < before.until) {
            return before.verdict.clone().ok_or_else(|| self.waiting(id));
        }
        if let Some(known) = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
        {
            return Ok(Answer::Known(known.clone()));
        }
        let found = target
            .source
            .fetch(id)
            .map_err(|error| self.silent(id, error))?;
        let Some(json) = found else {
            return self.not_found(&mut missing, id, now);
        };
        match self.compile(id, &json, target) {
            Ok(writer) => {
                missing.remove(&id);
                let writer = Arc::new(writer);
                self.known
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(id, writer.clone());
                Ok(Answer::Known(writer))
            }
            Err(why) => {
                let verdict = Answer::Unusable(why);
                remember(
                    &mut missing,
                    id,
                    Missing {
                        since: now,
                        until: now + ABSENT_US,
                        wait: ABSENT_US,
                        verdict: Some(verdict.clone()),
                    },
                    now,
                );
                Ok(verdict)
            }
        }
    }

    fn compile(
        &self,
        id: SchemaId,
        json: &str,
        target: &Target,
    ) -> std::result::Result<WriterSchema, String> {
        let datasets = self.registry.datasets();
        let index = match target.dataset {
            Some(index) => index,
            None => {
                let Dataset { name, kind, .. } =
                    Dataset::from_schema(json).map_err(|error| error.to_string())?;
                let (index, known) = datasets
                    .find(&name)
                    .ok_or_else(|| format!("its dataset '{name}' was not known at start-up"))?;
                if kind != known.kind {
                    return Err(format!(
                        "it is of kind {kind:?}, its dataset '{name}' of kind {:?}",
                        known.kind
                    ));
                }
                index
            }
        };
        WriterSchema::new(id, json, index, datasets.get(index)).map_err(|error| error.to_string())
    }

    fn not_found(
        &self,
        missing: &mut HashMap<SchemaId, Missing>,
        id: SchemaId,
        now: i64,
    ) -> Result<Answer> {
        let before = missing.get(&id).cloned();
        let crowd = missing
            .iter()
            .filter(|(other, missing)| **other != id && now < missing.until)
            .count()
            >= WAITED_FOR_MAX;
        let (since, wait) = before.as_ref().map_or((now, ASK_AGAIN_US), |before| {
            (before.since, before.wait.saturating_mul(2))
        });
        if crowd
            || now - since >= PATIENCE_US
            || before.is_some_and(|before| before.verdict.is_some())
        {
            remember(
                missing,
                id,
                Missing {
                    since,
                    until: now + ABSENT_US,
                    wait,
                    verdict: Some(Answer::Unknown),
                },
                now,
            );
            return Ok(Answer::Unknown);
        }
        remember(
            missing,
            id,
            Missing {
                since,
                until: now + wait,
                wait,
                verdict: None,
            },
            now,
        );
        Err(self.waiting(id))
    }

    fn waiting(&self, id: SchemaId) -> Error {
        Error::Unavailable {
            what: "schema source",
            why: format!(
                "input {}: schema {id} is not found yet and is asked for again",
                self.topic
            ),
        }
    }

    fn silent(&self, id: SchemaId, error: Error) -> Error {
        Error::Unavailable {
            what: "schema source",
            why: format!("input {} waits for schema {id}: {error}", self.topic),
        }
    }
}

/// Notes an id, in bounded memory: expired ones go first, and all when none has expired.
fn remember(missing: &mut HashMap<SchemaId, Missing>, id: SchemaId, entry: Missing, now: i64) {
    if missing.len() >= REMEMBERED_MAX {
        missing.retain(|_, known| now < known.until);
    }
    if missing.len() >= REMEMBERED_MAX {
        missing.clear();
    }
    missing.insert(id, entry);
}
