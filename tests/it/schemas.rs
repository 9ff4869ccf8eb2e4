//! Schemas by id from registries, inputs that are declared, and robots' homes. The HTTP servers
//! here are stand-ins: a few answers of each interface, as its documentation has them.

mod inputs;
mod registry;
mod sources;
