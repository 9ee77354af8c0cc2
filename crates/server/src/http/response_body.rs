//! Response bodies of downloads: files in bounded memory, and archives with their transfer record.

pub(crate) mod archive;
pub(crate) mod throttle;
