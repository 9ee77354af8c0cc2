//! The surface: every name that users and their programs depend on, as snapshots. Whoever changes
//! one sees it in the review.

pub(crate) mod eras;
mod names;
mod stdio;
