//! What users write, read through the crate's public interface.

mod at_once;
mod chunked;
mod directive;
mod folder;
mod gates;
mod history;
mod moves;
mod plan;
mod settings;
