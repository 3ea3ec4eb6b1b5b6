//! What users write, read through the crate's public interface.

mod directive;
mod folder;
mod history;
mod settings;
