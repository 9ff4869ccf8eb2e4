//! What `theatre top` shows of processes that run: asked at their admin ports ([`sample`]), compared
//! with what was asked before, and laid out as lines or as JSON ([`view`]).

pub mod exposition;
pub mod sample;
pub mod view;
