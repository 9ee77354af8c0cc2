//! The acts over the fakes, one module per room of the service that is worth it.

mod archives;
mod blobs;
mod books;
mod gc;
mod large_archive;
mod log;
mod plans;
mod publisher;
mod reading;
mod reconcile;
mod uploads;
