//! The acts over the fakes, one module per room of the service that is worth it.

mod blobs;
mod books;
mod gc;
mod log;
mod plans;
mod publisher;
mod reading;
mod reconcile;
