//! Public names: every name that users and their programs depend on, as snapshots, so that a change
//! is visible in the review.

pub(crate) mod eras;
mod examples;
mod names;
mod stdio;
