//! The use cases over the fakes, one module per area of the service.

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
mod searching;
mod uploads;
mod validate;
