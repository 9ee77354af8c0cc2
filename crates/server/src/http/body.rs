//! Response bodies of downloads: files at a bounded rate of memory, and archives with their record.

pub(crate) mod archive;
pub(crate) mod throttle;
