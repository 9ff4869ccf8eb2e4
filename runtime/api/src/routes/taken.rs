//! What routes take: parameters and bodies, as the document of the interface shows them.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::schema;
use crate::handlers;
use crate::handlers::actions::Said;
use crate::handlers::admin::TokenWish;

/// A parameter in the path or in the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// `path` or `query`.
    pub(crate) place: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
    pub(crate) doc: &'static str,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// A moment (RFC 3339).
    Moment,
    /// A whole number within these, both included.
    Within(usize, usize),
    OneOf(&'static [&'static str]),
}

/// What a body holds.
#[derive(Clone, Copy)]
pub(crate) struct Takes {
    pub(crate) doc: &'static str,
    /// The schema of an object; `None`: records.
    pub(crate) schema: Option<fn(&mut SchemaGenerator) -> Schema>,
}

pub(super) const fn query(name: &'static str, kind: Kind, doc: &'static str) -> Parameter {
    Parameter {
        name,
        place: "query",
        kind,
        is_required: false,
        doc,
    }
}

pub(super) const fn path(name: &'static str, doc: &'static str) -> Parameter {
    Parameter {
        name,
        place: "path",
        kind: Kind::Text,
        is_required: true,
        doc,
    }
}

pub(super) const AFTER: Parameter = query(
    "after",
    Kind::Text,
    "Where the page before ended: its `next`, with the same filters.",
);
pub(super) const FROM: Parameter =
    query("from", Kind::Moment, "Not before this moment (RFC 3339).");
pub(super) const UNTIL: Parameter = query("until", Kind::Moment, "Before this moment (RFC 3339).");
pub(super) const CHANGED_AFTER: Parameter = query(
    "changed_after",
    Kind::Moment,
    "Only what was saved after an earlier answer: give its `as_of`. What was saved in the minute before it comes again, so that nothing is missed where clocks differ.",
);
pub(super) const LIMIT: Parameter = query(
    "limit",
    Kind::Within(1, handlers::LIMIT_MAX),
    "Most items, 1 to 500; 100 unless it is given.",
);
pub(super) const ROBOT: Parameter = query("robot", Kind::Text, "Only of this robot.");
pub(super) const ROBOT_ID: Parameter = path("robot", "Id of the robot.");
pub(super) const CONDITION: Parameter = path("condition", "Id of the condition.");
pub(super) const WHY: Parameter = query("comment", Kind::Text, "Why, without personal data.");
pub(super) const PRIORITY: Parameter = query(
    "priority",
    Kind::OneOf(&["high", "medium", "low"]),
    "Only conditions of `high`, `medium` or `low` priority.",
);

/// What a listener of events takes.
pub(super) const EVENTS: [Parameter; 5] = [
    query(
        "kinds",
        Kind::Text,
        "Only these kinds of events, with commas between: `alert`, `outcome`, `procedure`, `robot`; all unless it is given.",
    ),
    ROBOT,
    query(
        "facility",
        Kind::Text,
        "Only of robots that stand in this facility.",
    ),
    query(
        "priority",
        Kind::OneOf(&["high", "medium", "low"]),
        "Only alerts of this priority, and robots whose gravest open condition has it.",
    ),
    query(
        "last_event_id",
        Kind::Text,
        "The same as the header, for those who cannot set one.",
    ),
];

pub(super) const ON_ERROR: Parameter = query(
    "on_error",
    Kind::OneOf(&["reject", "skip"]),
    "`reject` (all or nothing, unless it is given) or `skip` (leave out what does not fit).",
);

pub(super) const SUCCESS: Parameter = query(
    "success_status",
    Kind::OneOf(&["successful", "complicated", "failed", "unknown"]),
    "Only those of which the hospital's result says this; one without a result is none of them.",
);

pub(super) const SIGNAL: Parameter = Parameter {
    is_required: true,
    ..query(
        "signal",
        Kind::Text,
        "Name of the signal, such as `joints[2].current`.",
    )
};

pub(super) const COMMENT: Takes = takes::<Said>("{\"comment\": ...}: what may be said, or {}.");

pub(super) const RECORDS: Takes = Takes {
    doc: "A JSON array or object (application/json), an object a line (application/x-ndjson), a table with a header (text/csv), or one framed Avro record, or an object container file of Avro (both application/vnd.apache.avro); plain, gzip or zstd.",
    schema: None,
};
pub(super) const TOKEN: Takes = takes::<TokenWish>(
    "{\"name\": ..., \"role\": ..., \"robots\": [...], \"facilities\": [...], \"expires_at\": ...}: the last three may be left out.",
);

/// An object of this form.
pub(super) const fn takes<T: JsonSchema>(doc: &'static str) -> Takes {
    Takes {
        doc,
        schema: Some(schema::<T>),
    }
}
